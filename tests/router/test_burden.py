"""What a worker has to do: nothing is left of who has gone, and the young are told apart."""

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.burden import Burden, BurdenAccount

PROBATION = 600.0
requests: st.SearchStrategy[tuple[float, float]] = st.tuples(st.floats(0, 1e4), st.floats(0, 2e3))


@given(st.lists(requests), st.lists(st.integers(0, 20)))
def test_the_total_is_that_of_the_requests_there(sizes, departures):
    account = BurdenAccount()
    stacks: list[tuple[ExitStack, tuple[float, float]]] = []
    for tokens, attained in sizes:
        stacks.append((ExitStack(), (tokens, attained)))
        stacks[-1][0].enter_context(account.expecting(tokens, attained, lambda: PROBATION))
    for place in departures:
        if place < len(stacks):
            stacks.pop(place)[0].close()

    left = [Burden.of(*size, PROBATION) for _, size in stacks]
    assert account.total.num == len(left)
    assert account.total.tokens == pytest.approx(sum(each.tokens for each in left), abs=1e-6)
    assert account.total.num_young == sum(each.num_young for each in left)
    young_tokens = sum(each.young_tokens for each in left)
    assert account.total.young_tokens == pytest.approx(young_tokens, abs=1e-6)
    for stack, _ in stacks:
        stack.close()
    assert account.total == Burden()


@pytest.mark.parametrize(
    ("attained", "expected"),
    [
        (0.0, Burden(1, 900.0, 1, 600.0)),
        (500.0, Burden(1, 900.0, 1, 100.0)),
        (600.0, Burden(1, 900.0)),
    ],
)
def test_what_is_to_come_within_the_probation(attained, expected):
    assert Burden.of(900.0, attained, PROBATION) == expected


def test_a_request_that_gets_on_is_young_no_more():
    account = BurdenAccount()
    with account.expecting(900.0, 0.0, lambda: PROBATION) as expect:
        expect(250.0, 650.0)

        assert account.total == Burden(1, 250.0)


def test_requests_of_others_are_taken_for_like_ours():
    ours = Burden(2, 1_000.0, 1, 100.0)

    assert ours.scaled_to(6, PROBATION) == Burden(6, 3_000.0, 3, 300.0)
    assert ours.scaled_to(2, PROBATION) is ours
    assert Burden().scaled_to(2, PROBATION) == Burden(2, 1_000.0, 2, 1_000.0)
    assert Burden().scaled_to(0, PROBATION) == Burden()
