"""A slope and an offset put right what is off, where rows tell, and leave the rest alone."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from classifier.bench.simulated_logs import Logging, simulate_logs
from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.evaluate import log_loss
from classifier.export import check_parity, export
from classifier.recalibration import Recalibration, bin_weights
from classifier.survival import smallest_sufficient_tier, survival_of
from ponder.bins import NEED_BIN_EDGES


@pytest.fixture(scope="module")
def whole(questions) -> list[Outcome]:
    return [question.outcome() for question in questions]


def logged(whole: Sequence[Outcome], tiers, goes_on: float, exploration: float) -> Dataset:
    logs = simulate_logs(whole, tiers, Logging(exploration=exploration, goes_on=goes_on), seed=1)
    return Dataset.of(row.outcome for row in logs)


@pytest.mark.parametrize(("slope", "offset"), [(1.4, 0.3), (0.7, -0.3)])
def test_a_model_that_is_off_is_put_right(model, dataset, slope, offset):
    wrong = Recalibration(slope, offset).apply(model)
    held_out, test = dataset.split("validation"), dataset.split("test")

    right = Recalibration.fit(wrong.hazards(held_out.features), held_out).apply(wrong)

    best, off, now = (log_loss(m.hazards(test.features), test) for m in (model, wrong, right))
    assert off > best + 0.02
    assert now < best + 0.1 * (off - best) + 0.005


def test_few_rows_change_little(model, dataset):
    few = dataset.split("validation").rows(slice(0, 3))

    found = Recalibration.fit(model.hazards(few.features), few)

    assert found.slope == pytest.approx(1.0, abs=0.1)
    assert found.offset == pytest.approx(0.0, abs=0.1)


def test_rows_that_tell_nothing_change_nothing(model, dataset):
    nothing = replace(dataset, at_risk=np.zeros_like(dataset.at_risk))

    found = Recalibration.fit(model.hazards(dataset.features), nothing)

    assert (found.slope, found.offset) == (1.0, 0.0)


def test_the_graph_of_a_calibrated_model_is_exact(model, dataset):
    calibrated = Recalibration(0.8, -0.2).apply(model)

    assert check_parity(export(calibrated, "m", 1), calibrated, dataset.features) <= 1e-5


@pytest.mark.parametrize("goes_on", [0.0, 0.5])
def test_weighted_hazards_of_logs_are_those_of_requests_that_nothing_cut(model, whole, goes_on):
    """Budgets follow the prompt, so what reaches a late bin by its first budget is harder."""
    complete = Dataset.of(whole)
    tiers = smallest_sufficient_tier(survival_of(model.hazards(complete.features)))
    data = logged(whole, np.maximum(tiers - 1, 0), goes_on, exploration=0.5)
    weights = bin_weights(data)
    bins = [k for k, edge in enumerate(NEED_BIN_EDGES) if 50 < edge <= 500]

    def late_hazard(events, at_risk) -> float:
        return float((events[:, bins].sum(axis=0) / at_risk[:, bins].sum(axis=0)).mean())

    # Of what the logs can tell about at all: the same prompts.
    possible = weights[:, bins].any(axis=1) | (tiers <= 1)
    truth = late_hazard(complete.events[possible], complete.at_risk[possible])
    weighted = late_hazard(data.events * weights, weights)
    plain = late_hazard(data.events, data.at_risk)

    assert abs(weighted - truth) < 0.5 * abs(plain - truth)
