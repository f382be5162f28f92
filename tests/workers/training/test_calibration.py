import math

import numpy as np
import pytest

from workers.training.calibration import (
    auroc,
    expected_calibration_error,
    mean_estimate,
    metric_estimate,
    ratio_estimate,
)

RIGHT = np.array([False, False, True, True])


def test_a_perfect_ranking_has_an_auroc_of_one():
    assert auroc(np.array([0.1, 0.2, 0.3, 0.4]), RIGHT) == 1.0


def test_a_reversed_ranking_has_an_auroc_of_zero():
    assert auroc(np.array([0.4, 0.3, 0.2, 0.1]), RIGHT) == 0.0


def test_equal_confidence_everywhere_has_an_auroc_of_one_half():
    assert auroc(np.full(4, 0.7), RIGHT) == 0.5


def test_auroc_is_the_share_of_pairs_in_order_ties_counting_half():
    confidence = np.array([0.2, 0.5, 0.5, 0.9])  # pairs: 0.5 > 0.2, 0.5 = 0.5, both under 0.9

    assert auroc(confidence, RIGHT) == 3.5 / 4


def test_a_random_ranking_has_an_auroc_near_one_half():
    generator = np.random.default_rng(3)

    value = auroc(generator.random(20_000), generator.random(20_000) < 0.3)

    assert value == pytest.approx(0.5, abs=0.02)


def test_auroc_is_undefined_without_answers_of_both_kinds():
    assert math.isnan(auroc(np.array([0.2, 0.9]), np.array([True, True])))


def test_a_calibrated_confidence_has_a_small_calibration_error():
    confidence = np.random.default_rng(5).random(60_000)
    is_right = np.random.default_rng(6).random(60_000) < confidence

    assert expected_calibration_error(confidence, is_right) < 0.01


def test_the_calibration_error_of_certainty_is_its_share_of_wrong_answers():
    is_right = np.arange(150) % 10 < 6

    assert expected_calibration_error(np.ones(150), is_right) == pytest.approx(0.4)


def test_bins_hold_equally_many_answers():
    confidence = np.array([0.1] * 10 + [0.9] * 140)  # ten answers fill one of fifteen bins
    is_right = np.array([True] * 10 + [True] * 140)

    value = expected_calibration_error(confidence, is_right)

    assert value == pytest.approx((10 * 0.9 + 140 * 0.1) / 150)


def test_intervals_are_the_same_every_time_and_hold_the_value():
    generator = np.random.default_rng(7)
    scores = [[float(x)] for x in generator.random(100)]
    outcomes = [[bool(generator.random() < score[0])] for score in scores]

    first, second = (metric_estimate(auroc, scores, outcomes) for _ in range(2))

    assert first == second
    assert first.low < first.value < first.high
    assert first.count == 100


def test_answers_to_one_problem_are_resampled_together():
    twice = [[0.2, 0.2], [0.8, 0.8], [0.4, 0.4], [0.6, 0.6]] * 5
    once = [item[:1] for item in twice]
    right = [[item[0] > 0.5] * 2 for item in twice]

    wide = metric_estimate(expected_calibration_error, once, [item[:1] for item in right])
    doubled = metric_estimate(expected_calibration_error, twice, right)

    assert doubled.high - doubled.low >= 0.8 * (wide.high - wide.low)


def test_the_interval_of_a_mean_has_the_width_that_theory_says():
    values = [float(i % 2) for i in range(400)]

    estimate = mean_estimate(values)

    assert estimate.value == 0.5
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)


def test_a_ratio_is_that_of_the_sums():
    assert ratio_estimate([10, 0], [20, 80]).value == 0.1


def test_a_figure_without_trials_is_undefined():
    assert math.isnan(mean_estimate([]).value)
    assert math.isnan(metric_estimate(auroc, [[]], [[]]).value)
