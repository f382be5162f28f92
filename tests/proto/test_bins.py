"""What one request says about the bins of the need."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder import bins
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop

SELF_STOPS = (
    budget_pb2.THINKING_STOP_FINISHED,
    budget_pb2.THINKING_STOP_CONFIDENT,
    budget_pb2.THINKING_STOP_CONVERGED,
)
CUTS = (
    budget_pb2.THINKING_STOP_EXHAUSTED,
    budget_pb2.THINKING_STOP_CANCELLED,
    budget_pb2.THINKING_STOP_GAVE_UP,
)
FINISHED, EXHAUSTED = SELF_STOPS[0], CUTS[0]


def test_the_edges_rise_and_include_the_tier_budgets():
    assert all(low < high for low, high in itertools.pairwise(NEED_BIN_EDGES))
    assert {50, 500, 2000, 10000} <= set(NEED_BIN_EDGES)


@given(st.integers(0, 20_000))
def test_a_need_lies_within_the_edges_of_its_bin(need: int):
    index = bins.bin_of_need(need)

    assert index == 0 or NEED_BIN_EDGES[index - 1] < need
    assert index == NUM_NEED_BINS or need <= NEED_BIN_EDGES[index]


def test_a_negative_need_is_refused():
    with pytest.raises(ValueError, match="need_tokens is -1"):
        bins.bin_of_need(-1)


@given(st.integers(0, 12_000), st.integers(0, 12_000), st.sampled_from(SELF_STOPS + CUTS))
def test_at_risk_comes_first_and_the_event_is_its_last_bin(
    tokens: int, slack: int, stop: ThinkingStop.ValueType
):
    events, at_risk = bins.need_vectors(tokens, tokens + slack, stop)

    assert at_risk == sorted(at_risk, reverse=True)
    assert sum(events) <= 1
    if any(events):
        assert sum(at_risk) == events.index(1) + 1


@given(st.integers(0, 12_000), st.sampled_from(SELF_STOPS))
def test_a_request_that_stopped_by_itself_within_ample_budget_is_one_event(
    need: int, stop: ThinkingStop.ValueType
):
    events, at_risk = bins.need_vectors(need, 20_000, stop)

    index = bins.bin_of_need(need)
    assert events == [int(k == index) for k in range(NUM_NEED_BINS)]
    assert sum(at_risk) == min(index + 1, NUM_NEED_BINS)


@given(st.integers(0, 12_000), st.sampled_from(CUTS))
def test_a_cut_request_is_at_risk_only_in_bins_it_outlived(
    tokens: int, stop: ThinkingStop.ValueType
):
    events, at_risk = bins.need_vectors(tokens, tokens, stop)

    assert events == [0] * NUM_NEED_BINS
    assert at_risk == [int(edge <= tokens) for edge in NEED_BIN_EDGES]


@pytest.mark.parametrize("budget", [10, 50, 300, 500, 1999, 2000, 10_000, 30_000])
def test_hazards_estimated_under_any_budget_are_the_true_ones(budget: int):
    needs = range(1, 11_000, 7)
    rows = [
        bins.need_vectors(need, budget, FINISHED)
        if need <= budget
        else bins.need_vectors(budget, budget, EXHAUSTED)
        for need in needs
    ]

    for k in range(NUM_NEED_BINS):
        num_events = sum(events[k] for events, _ in rows)
        num_at_risk = sum(at_risk[k] for _, at_risk in rows)
        if NEED_BIN_EDGES[k] > budget:
            assert (num_events, num_at_risk) == (0, 0)
            continue
        assert num_events == sum(bins.bin_of_need(need) == k for need in needs)
        assert num_at_risk == sum(bins.bin_of_need(need) >= k for need in needs)


@pytest.mark.parametrize("budget", [50, 500, 2000, 10_000])
def test_a_budget_that_ends_with_a_step_counts_as_spent(budget: int):
    spent = budget - bins.cut_grace_tokens(budget)

    assert bins.need_vectors(spent, budget, EXHAUSTED) == bins.need_vectors(
        budget, budget, EXHAUSTED
    )


def test_a_deadline_that_cuts_long_before_the_budget_says_nothing_of_later_bins():
    _, at_risk = bins.need_vectors(300, 10_000, EXHAUSTED)

    assert sum(at_risk) == bins.num_bins_within(300)
