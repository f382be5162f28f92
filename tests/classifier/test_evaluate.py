"""The figures say what they claim, on cases worked out by hand and beside controls."""

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from classifier.bench.simulated_logs import Logging, simulate_logs
from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.evaluate import (
    Evaluation,
    brier,
    calibration_error,
    coverage,
    evaluate,
    log_loss,
    rank_correlation,
)
from classifier.following import Answers, Following
from classifier.survival import median_need, smallest_sufficient_tier, survival_of
from classifier.train import train_controls
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS, bin_of_need, num_bins_within
from ponder.v1 import budget_pb2
from tests.classifier.oracle import Question


def outcomes(*needs_and_budgets: tuple[int, int]) -> Dataset:
    return Dataset.of(Question("a", "", n).outcome(b) for n, b in needs_and_budgets)


def asked(data: Dataset, tokens: int) -> Answers:
    return Following.of(data).answers(tokens)


def test_log_loss_counts_the_bins_a_request_was_at_risk_in():
    hazards = np.full((2, NUM_NEED_BINS), 0.25)

    loss = log_loss(hazards, outcomes((40, 10_000), (9000, 50)))

    survived = bin_of_need(40) + num_bins_within(50)
    assert loss == pytest.approx(-(survived * math.log(0.75) + math.log(0.25)) / 2)


def test_question_is_decided_where_the_budget_covers_it_whatever_the_need():
    data = outcomes((40, 50), (40, 500), (600, 500), (600, 2000))

    assert asked(data, 500).weights.tolist() == [0.0, 1.0, 1.0, 1.0]


def test_budget_that_ended_with_the_last_whole_step_decides_its_question():
    cut = Outcome(
        ids=Question("a", "", 0).outcome().ids,
        thinking_tokens=480,
        budget_tokens=500,
        stop=budget_pb2.THINKING_STOP_EXHAUSTED,
        family="",
    )
    data = Dataset.of([cut, replace(cut, stop=budget_pb2.THINKING_STOP_CANCELLED)])

    assert asked(data, 500).weights.tolist() == [1.0, 0.0]
    assert asked(data, 500).exceeds.tolist() == [True, True]
    assert asked(data, 480).weights.tolist() == [1.0, 1.0]


def test_brier_and_calibration_error_of_a_known_case():
    data = outcomes((40, 500), (600, 2000), (10, 50))
    predicted = np.array([0.2, 0.6, 0.9])  # the last is not decided

    assert brier(predicted, asked(data, 500)) == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert calibration_error(predicted, asked(data, 500)) == pytest.approx((0.2 + 0.4) / 2)


def test_coverage_compares_observed_with_expected_where_decided():
    data = outcomes((40, 500), (60, 500), (40, 16))
    survival = np.tile(np.linspace(0.9, 0.1, NUM_NEED_BINS), (3, 1))

    bound = bin_of_need(50)

    result = coverage(np.full(3, bound), survival, Following.of(data))

    assert result.num_rows == 2
    assert result.observed == 0.5
    assert result.expected == pytest.approx(1 - survival[0, bound])


def test_rank_correlation_uses_only_pairs_of_known_order():
    data = outcomes((10, 10_000), (100, 10_000), (9000, 50), (20, 10_000))

    assert rank_correlation(np.array([1.0, 4.0, 3.0, 2.0]), data) == 1.0
    assert rank_correlation(np.array([4.0, 1.0, 2.0, 3.0]), data) == -1.0
    assert rank_correlation(np.ones(4), data) == 0.0


def test_figures_nothing_decides_are_not_numbers():
    data = outcomes((40, 50), (60, 50))

    assert math.isnan(brier(np.zeros(2), asked(data, 500)))
    assert math.isnan(calibration_error(np.zeros(2), asked(data, 500)))
    assert math.isnan(
        coverage(
            np.array([10, NUM_NEED_BINS]), np.ones((2, NUM_NEED_BINS)), Following.of(data)
        ).observed
    )


def test_median_and_tier_are_read_off_the_curve():
    hazards = np.zeros((3, NUM_NEED_BINS))
    hazards[0, 1], hazards[1, 6] = 0.95, 0.5

    survival = survival_of(hazards)

    assert smallest_sufficient_tier(survival).tolist() == [0, 3, 3]
    medians = median_need(survival)
    assert NEED_BIN_EDGES[0] < medians[0] < NEED_BIN_EDGES[1]
    assert medians[1] == pytest.approx(NEED_BIN_EDGES[6])
    assert medians[2] == np.inf


def test_classifier_beats_every_control_on_unseen_prompts(model, dataset):
    test = dataset.split("test")
    controls = train_controls(dataset, model.regularisation, lambda line: None)

    judged = evaluate(model.hazards(test.features), test)
    others = {name: evaluate(c.hazards(test.features), test) for name, c in controls.items()}

    assert set(others) == {"constant", "length only", "shuffled labels"}
    assert judged.tau > 0.55
    assert all(judged.tau > other.tau + 0.1 for other in others.values())
    assert all(judged.log_loss < other.log_loss - 0.2 for other in others.values())
    assert abs(others["shuffled labels"].tau) < 0.2


@pytest.mark.parametrize("goes_on", [0.5, 1.0])
def test_figures_of_raised_budgets_are_those_of_requests_that_nothing_cut(
    model, questions, goes_on
):
    whole = [question.outcome() for question in questions]
    complete = Dataset.of(whole)
    hazards = model.hazards(complete.features)
    low = np.maximum(0, smallest_sufficient_tier(survival_of(hazards)) - 1)
    logs = simulate_logs(whole, low, Logging(exploration=0.3, goes_on=goes_on), seed=1)
    logged = Dataset.of(row.outcome for row in logs)
    unaware = Dataset.of(replace(row.outcome, decision=None) for row in logs)

    truth, judged, naive = (evaluate(hazards, data) for data in (complete, logged, unaware))

    def error(evaluation: Evaluation) -> float:
        return evaluation.bound.observed - evaluation.bound.expected

    assert error(judged) == pytest.approx(error(truth), abs=0.005)
    assert error(naive) != pytest.approx(error(truth), abs=0.01)
    for tier in ("moderate", "complex"):
        assert judged.brier[tier] == pytest.approx(truth.brier[tier], rel=0.1)
        assert naive.brier[tier] > 1.3 * truth.brier[tier]


def test_bound_covers_as_often_as_it_says_with_and_without_censoring(model, questions):
    rng = Random(2)
    censored = Dataset.of(q.outcome(rng.choice((50, 500, 2000, 10_000))) for q in questions)
    complete = Dataset.of(q.outcome() for q in questions)

    for data in (censored.split("test"), complete.split("test")):
        bound = evaluate(model.hazards(data.features), data).bound
        assert bound.observed == pytest.approx(bound.expected, abs=0.03)
