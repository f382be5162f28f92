"""The one mapping from tiers and measured answers to needs."""

import numpy as np
import pytest

from classifier.general.labels import SoftLabels, tier_survival
from classifier.survival import COLD_COVERAGE, TIER_BUDGETS, smallest_sufficient_tier
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS, num_bins_within

TIERS = list(TIER_BUDGETS)


def test_the_median_of_a_tier_lies_within_its_budget_and_above_the_one_below():
    curves = np.stack([tier_survival(tier) for tier in TIERS])

    assert smallest_sufficient_tier(curves, COLD_COVERAGE).tolist() == [0, 1, 2, 3]


def test_harder_tiers_need_more_at_every_edge():
    curves = np.stack([tier_survival(tier) for tier in TIERS])

    assert (np.diff(curves, axis=0) > 0).all()


@pytest.mark.parametrize("tier", TIERS)
def test_a_label_is_wide(tier):
    """The middle 80 % of needs span a factor of 20 and more."""
    survival = np.array([1.0, *tier_survival(tier)])
    edges = np.array([1.0, *NEED_BIN_EDGES])
    below = edges[survival >= 0.9][-1]
    above = edges[np.flatnonzero(survival <= 0.1)[0]] if survival[-1] <= 0.1 else np.inf

    assert above / below >= 20


def test_a_longer_answer_needs_more():
    labels = SoftLabels.of_answers(np.array([40.0, 400.0]), np.ones(2))
    hazards = labels.events / labels.at_risk

    assert (hazards[0, :6] > hazards[1, :6]).all()


def test_wrong_answers_are_censored_where_they_ended():
    """Nothing is learned beyond, and what came before says only that it was not enough."""
    labels = SoftLabels.of_answers(np.array([300.0]), np.array([0.0]))

    assert not labels.events.any()
    within = num_bins_within(300)
    assert labels.at_risk[0].tolist() == [1] * within + [0] * (NUM_NEED_BINS - within)


def test_shares_are_a_distribution():
    tiers = SoftLabels.of_tiers(np.array(TIERS))
    answers = SoftLabels.of_answers(np.array([1.0, 5000.0]), np.array([0.3, 0.9]))
    labels = tiers + answers

    assert (labels.events >= 0).all()
    assert (labels.events <= labels.at_risk + 1e-12).all()
    assert (labels.at_risk <= 1.0).all()
    assert labels.events.sum(axis=1).max() <= 1.0
