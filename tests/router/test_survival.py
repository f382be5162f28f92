"""The survival curve, and how observed counts correct it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS, bin_of_need
from router.survival import SurvivalCurve, median_bin, posterior_hazards

hazard_lists = st.lists(st.floats(0.0, 1.0), min_size=NUM_NEED_BINS, max_size=NUM_NEED_BINS)
hazards = hazard_lists.map(np.array)
BUDGETS = (50, 500, 2_000, 10_000)
any_shifts = st.lists(st.floats(-2.5, 2.5), min_size=4, max_size=4)
count_pairs = st.lists(
    st.integers(0, 1 << 40).flatmap(lambda r: st.tuples(st.integers(0, r), st.just(r))),
    min_size=NUM_NEED_BINS,
    max_size=NUM_NEED_BINS,
)


@given(hazards, count_pairs, st.floats(1.0, 1e6))
def test_the_posterior_lies_between_the_prior_and_what_was_observed(prior, pairs, weight):
    events, at_risk = np.array(pairs, dtype=np.int64).T

    posterior = posterior_hazards(prior, events, at_risk, weight)

    seen = at_risk > 0
    observed = np.divide(events, at_risk, out=prior.copy(), where=seen)
    slack = 1e-9
    assert (posterior >= np.minimum(prior, observed) - slack).all()
    assert (posterior <= np.maximum(prior, observed) + slack).all()


@given(hazards, any_shifts)
def test_a_corrected_curve_falls_from_one_and_stays_between_the_bounds(prior, shifts):
    curve = SurvivalCurve.from_hazards(prior)

    points = curve.corrected(BUDGETS, shifts).points

    lowest, highest = (curve.corrected(BUDGETS, [bound] * 4).points for bound in (-2.5, 2.5))
    assert points[0] == 1.0
    assert all(above >= below >= 0.0 for above, below in pairwise(points))
    slack = 1e-12
    triples = zip(lowest, points, highest, strict=True)
    assert all(low - slack <= point <= high + slack for low, point, high in triples)


@given(hazards)
def test_no_shift_changes_nothing(prior):
    curve = SurvivalCurve.from_hazards(prior)

    assert curve.corrected(BUDGETS, [0.0] * 4) == curve


@given(hazards, st.floats(1.0, 1e6))
def test_a_cell_without_observations_keeps_the_prior(prior, weight):
    nothing = np.zeros(NUM_NEED_BINS, dtype=np.int64)

    assert posterior_hazards(prior, nothing, nothing, weight) == pytest.approx(prior)


def test_many_observations_outweigh_the_prior():
    prior = np.full(NUM_NEED_BINS, 0.9)
    at_risk = np.full(NUM_NEED_BINS, 5_000)

    posterior = posterior_hazards(prior, at_risk // 10, at_risk, 50.0)

    assert posterior == pytest.approx(np.full(NUM_NEED_BINS, 0.1), abs=0.01)


@given(hazards)
def test_survival_falls_from_one(prior):
    points = SurvivalCurve.from_hazards(prior).points

    assert points[0] == 1.0
    assert all(high >= low >= 0.0 for high, low in pairwise(points))


@given(hazards, st.floats(0.01, 0.99))
def test_a_quantile_suffices_with_its_probability_or_is_the_last_edge(prior, probability):
    curve = SurvivalCurve.from_hazards(prior)

    tokens = curve.quantile_tokens(probability)

    assert curve.at(tokens) <= 1.0 - probability + 1e-9 or tokens == NEED_BIN_EDGES[-1]


@given(hazards)
def test_the_median_bin_holds_the_median(prior):
    curve = SurvivalCurve.from_hazards(prior)

    if curve.points[-1] <= 0.5:
        assert median_bin(prior) == bin_of_need(curve.quantile_tokens(0.5))
    else:
        assert median_bin(prior) == NUM_NEED_BINS


def test_beyond_the_last_edge_nothing_more_is_claimed():
    curve = SurvivalCurve.from_hazards(np.full(NUM_NEED_BINS, 0.1))

    assert curve.at(50_000) == curve.at(NEED_BIN_EDGES[-1])


@given(hazards, st.integers(0, 9_999), st.integers(0, 10_000))
def test_expected_tokens_never_exceed_what_is_left_of_the_budget(prior, spent, budget):
    expected = SurvivalCurve.from_hazards(prior).expected_tokens(spent, budget)

    assert 0.0 <= expected <= max(0, budget - spent) + 1e-6


def test_expected_tokens_of_a_sure_need_are_what_is_missing():
    certain = SurvivalCurve((1.0, *(float(edge < 500) for edge in NEED_BIN_EDGES)))

    assert certain.expected_tokens(100, 2_000) == pytest.approx(325.0)


@given(hazards, st.floats(-5.0, 20_000.0))
def test_between_the_edges_it_is_a_straight_line_as_numpy_draws_it(prior, tokens):
    curve = SurvivalCurve.from_hazards(prior)

    drawn = np.interp(tokens, (0, *NEED_BIN_EDGES), curve.points)

    assert curve.at(tokens) == pytest.approx(drawn, abs=1e-12)
