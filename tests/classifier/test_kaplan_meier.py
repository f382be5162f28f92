"""The distribution of needs of which some were cut, against the needs themselves."""

import numpy as np
import pytest

from classifier.kaplan_meier import KaplanMeier


def curve(spent, is_need) -> KaplanMeier:
    return KaplanMeier.fit(np.array(spent, dtype=float), np.array(is_need, dtype=bool))


def test_the_worked_example_of_kaplan_and_meier():
    # Their section 1: eight items, deaths at 0.8, 3.1, 5.4 and 9.2, losses at 1.0, 2.7, 7.0, 12.1.
    spent = [0.8, 1.0, 2.7, 3.1, 5.4, 7.0, 9.2, 12.1]
    found = curve(spent, [1, 0, 0, 1, 1, 0, 1, 0])

    survival = [1.0 - found.covered(time) for time in (0.8, 3.1, 5.4, 9.2)]
    assert survival == pytest.approx([7 / 8, 7 / 8 * 4 / 5, 7 / 8 * 3 / 5, 7 / 8 * 3 / 10])
    assert found.unknown == pytest.approx(7 / 8 * 3 / 10)


def test_nothing_cut_is_the_plain_distribution():
    found = curve([5, 1, 3, 3], [1, 1, 1, 1])

    assert found.needs.tolist() == [1, 3, 5]
    assert found.masses == pytest.approx([0.25, 0.5, 0.25])
    assert (found.covered(0), found.covered(3), found.unknown) == (0, 0.75, 0)
    assert (found.quantile(0.25), found.quantile(0.5), found.quantile(1.0)) == (1, 3, 5)
    assert found.mean_up_to(4) == pytest.approx((1 + 3 + 3 + 4) / 4)


def test_a_need_and_a_cut_at_the_same_place_count_as_the_need_first():
    assert curve([2, 2], [1, 0]).covered(2) == 0.5


def test_a_quantile_beyond_what_was_seen_is_unknown():
    assert curve([2, 5], [1, 0]).quantile(0.9) == float("inf")


def test_no_need_at_all_is_all_unknown():
    assert curve([2, 5], [0, 0]).unknown == 1.0


def test_cuts_that_follow_the_prediction_need_a_curve_per_prediction():
    rng = np.random.default_rng(5)
    hard = rng.random(20_000) < 0.3
    needs = np.exp(np.where(hard, 7.0, 4.0) + rng.standard_normal(20_000))
    # The hard ones are given more, so what is cut at 100 is mostly easy.
    budgets = np.where(hard, 8_000.0, 100.0)
    budgets[rng.random(20_000) < 0.1] = 8_000.0
    spent, is_need = np.minimum(needs, budgets), needs <= budgets

    pooled = KaplanMeier.fit(spent, is_need)
    mixed = KaplanMeier.fit_strata(spent, is_need, hard.astype(np.int64))

    for tokens in (200, 500, 2_000):
        truth = float((needs <= tokens).mean())
        assert mixed.covered(tokens) == pytest.approx(truth, abs=0.01)
        assert abs(pooled.covered(tokens) - truth) > 0.03


def test_what_a_stratum_cannot_place_is_placed_as_the_others_are():
    spent = np.array([10, 10, 20, 40, 80], dtype=float)
    is_need = np.array([True, False, True, True, True])
    strata = np.array([0, 0, 1, 1, 1])

    found = KaplanMeier.fit_strata(spent, is_need, strata)

    assert found.unknown == pytest.approx(0.0)
    assert found.masses.sum() == pytest.approx(1.0)
    assert found.covered(10) == pytest.approx(0.2)
