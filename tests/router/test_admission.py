"""What gives under load, and in which order: budgets, then requests; never one pool for another."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ponder.v1.budget_pb2 import (
    POOL_EASY,
    POOL_THINKING,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
)
from router.admission import (
    RETRY_RESERVE,
    RETRY_SHARE,
    Bounds,
    PoolLoad,
    RetryBudget,
    Work,
    affordable_in_line,
    closed_tiers,
    in_words,
    retry_after_s,
)
from router.tiers import TierTable

TABLE = TierTable()
BOUNDS = Bounds(queue_s=30.0, line_s=2.0)
PROBATION = 600


def load_of(num_young: int = 0, young_tokens: float = 0.0, **changes: Any) -> PoolLoad:
    """Of one slot and a token a second; the young are in flight, besides what is named."""
    fields: dict[str, Any] = {
        "slots": 1,
        "in_flight": 0,
        "backlog_tokens": 0.0,
        "tokens_per_s": 1.0,
    } | changes
    fields["in_flight"] += num_young
    fields["backlog_tokens"] += young_tokens
    young = {"num_young": num_young, "young_tokens": young_tokens}
    return PoolLoad(**{"probation_tokens": PROBATION} | young | fields)


IDLE = load_of(slots=8)

loads = st.builds(
    load_of,
    slots=st.integers(0, 64),
    in_flight=st.integers(0, 500),
    backlog_tokens=st.floats(0, 1e7),
    tokens_per_s=st.floats(1.0, 1e5) | st.just(float("inf")),
    num_young=st.integers(0, 100),
    young_tokens=st.floats(0, 1e5),
    probation_tokens=st.sampled_from([0, PROBATION]),
)
works = st.builds(
    Work, tokens=st.floats(1, 10_000), service_s=st.floats(0, 1e3), left_s=st.floats(0, 1e3)
)


def waiting(wait_s: float) -> PoolLoad:
    """One slot, taken, and predicted to be free after so long; nobody has a probation."""
    return load_of(in_flight=1, backlog_tokens=wait_s, probation_tokens=0)


def in_line(line_s: float) -> PoolLoad:
    """One slot, which one on probation has for so long."""
    return load_of(num_young=1, young_tokens=line_s)


def closed(easy: PoolLoad, thinking: PoolLoad) -> frozenset[int]:
    return closed_tiers({POOL_EASY: easy, POOL_THINKING: thinking}, TABLE, BOUNDS)


# The wait


@given(loads)
def test_a_free_slot_means_no_wait(load):
    if load.in_flight < load.slots:
        assert load.wait_s == 0.0


@given(loads, st.integers(0, 50), st.floats(0, 1e6))
def test_more_work_never_means_less_wait(load, more_requests, more_tokens):
    assume(load.in_flight)
    mean = load.backlog_tokens / load.in_flight
    heavier = replace(
        load,
        in_flight=load.in_flight + more_requests,
        backlog_tokens=load.backlog_tokens + more_requests * mean + more_tokens,
    )

    assert heavier.wait_s >= load.wait_s * (1 - 1e-9)


def test_the_wait_is_that_of_those_who_must_end_first():
    load = load_of(slots=4, in_flight=7, backlog_tokens=700.0, tokens_per_s=100.0)

    assert load.wait_s == 4 * 100.0 / 100.0


@given(loads, st.integers(0, 100), st.floats(0, 1e6))
def test_a_request_on_probation_waits_for_the_young_only(load, more_requests, more_tokens):
    busier = replace(
        load,
        in_flight=load.in_flight + more_requests,
        backlog_tokens=load.backlog_tokens + more_tokens,
    )

    assert busier.line_s == load.line_s
    if load.probation_tokens:
        assert busier.wait_of_s(PROBATION) == load.line_s
    assert busier.wait_of_s(PROBATION + 1) == busier.wait_s


# Closed tiers


@pytest.mark.parametrize(
    ("line_s", "expected"), [(0.9, set()), (1.0, {TIER_MODERATE}), (9.0, {TIER_MODERATE})]
)
def test_a_line_that_is_half_as_long_as_it_may_be_shrinks_easy_budgets(line_s, expected):
    assert closed(in_line(line_s), IDLE) == expected


def test_thinking_work_does_not_move_to_where_the_line_is_long():
    assert TIER_COMPLEX in closed(in_line(0.9), waiting(22.5))
    assert TIER_COMPLEX not in closed(in_line(1.0), waiting(22.5))


@pytest.mark.parametrize(
    ("easy_s", "thinking_s", "expected"),
    [
        (0.0, 14.9, set()),
        (0.0, 15.0, {TIER_RESEARCH}),
        (0.0, 22.5, {TIER_RESEARCH, TIER_COMPLEX}),
        (14.9, 22.5, {TIER_RESEARCH, TIER_COMPLEX}),
        (15.0, 22.5, {TIER_RESEARCH, TIER_MODERATE}),
        (15.0, 0.0, {TIER_MODERATE}),
        (1e6, 0.0, {TIER_MODERATE}),
    ],
)
def test_the_largest_tier_of_a_full_pool_closes_first(easy_s, thinking_s, expected):
    assert closed(waiting(easy_s), waiting(thinking_s)) == expected


@given(loads, loads)
def test_simple_is_never_closed(easy, thinking):
    assert TIER_SIMPLE not in closed(easy, thinking)


@given(loads)
def test_thinking_work_costs_easy_work_nothing(thinking):
    assert TIER_MODERATE not in closed(IDLE, thinking)


@given(loads, st.floats(0, 100), st.floats(0, 100))
def test_a_fuller_pool_never_opens_a_tier_of_its_own(easy, wait_s, other_s):
    low, high = sorted((wait_s, other_s))

    assert closed(easy, waiting(low)) <= closed(easy, waiting(high))


# Refusals


@given(works, loads)
def test_with_a_free_slot_nobody_is_refused(work, load):
    if not load.wait_s and not load.line_s:
        assert retry_after_s(work, load, BOUNDS) is None


@given(works, loads)
def test_no_queue_is_longer_than_its_bound(work, load):
    if load.wait_of_s(work.tokens) > BOUNDS.queue_s or load.line_s > BOUNDS.line_s:
        assert retry_after_s(work, load, BOUNDS) is not None


@given(works, loads)
def test_who_is_admitted_is_done_in_time_or_would_have_been_late_anyhow(work, load):
    if retry_after_s(work, load, BOUNDS) is None and work.service_s <= work.left_s:
        assert load.wait_of_s(work.tokens) + work.service_s <= work.left_s * (1 + 1e-9)


@given(works, st.integers(0, 500), st.floats(0, 1e7))
def test_no_hard_work_however_much_refuses_a_short_request(work, num_hard, hard_tokens):
    """The promise: an easy request never waits for a hard one."""
    short = replace(work, tokens=float(PROBATION))
    load = load_of(in_flight=num_hard, backlog_tokens=hard_tokens)

    assert retry_after_s(short, load, BOUNDS) is None


@given(works, st.floats(2.01, 1e3))
def test_patience_gets_nobody_into_a_line_that_is_too_long(work, line_s):
    """Else the patient would fill it, and whoever has little time would never be admitted."""
    patient = replace(work, left_s=1e9)

    assert retry_after_s(patient, in_line(line_s), BOUNDS) is not None


# What the deadline leaves


@given(loads, st.floats(0, 1e4))
def test_within_its_probation_a_request_loses_only_the_time_in_line(load, left_s):
    def affordable(wait_s: float) -> int:
        return int(left_s - wait_s)

    tokens = affordable_in_line(load, affordable, 32)

    assert tokens >= affordable(load.wait_s)
    if tokens > affordable(load.wait_s):
        assert tokens <= min(affordable(load.line_s), load.probation_tokens - 32)
    elif load.probation_tokens:
        assert tokens >= min(affordable(load.line_s), load.probation_tokens - 32)


@given(st.floats(0, 1e3), works)
def test_who_comes_back_when_told_finds_room(wait_s, work):
    """If the queue moved as predicted, and the same time is left then."""
    after_s = retry_after_s(work, waiting(wait_s), BOUNDS)
    if after_s is not None:
        later = waiting(max(0.0, wait_s - after_s * (1 + 1e-9)))

        assert retry_after_s(work, later, BOUNDS) is None


@pytest.mark.parametrize(
    ("after_s", "words"), [(0.1, "in 1 second"), (1.0, "in 1 second"), (1.2, "in 2 seconds")]
)
def test_the_caller_is_told_whole_seconds(after_s, words):
    assert in_words(after_s) == f"try again {words}"


# Retries


@given(st.lists(st.booleans(), max_size=3_000))
def test_retries_are_a_share_of_the_requests(events):
    budget, num_requests, num_retries = RetryBudget(), 0, 0
    for is_request in events:
        if is_request:
            num_requests += 1
            budget.note_request()
        else:
            num_retries += budget.take()

    assert num_retries <= RETRY_RESERVE + RETRY_SHARE * num_requests + 1e-6


def test_a_failure_of_everything_multiplies_the_load_by_little():
    budget, num_requests = RetryBudget(), 100_000
    num_retries = 0
    for _ in range(num_requests):
        budget.note_request()
        num_retries += budget.take() + budget.take()

    assert num_retries / num_requests < 0.102


def test_one_lost_worker_with_a_full_batch_is_replaced():
    budget = RetryBudget()

    assert all(budget.take() for _ in range(64))
