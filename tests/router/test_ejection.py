"""A worker that is much slower than its pool is taken out for a while, and never too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ejection import (
    EJECTION_S,
    LARGEST_SHARE,
    LONGEST_EJECTION_S,
    SLOW_FOR_S,
    Ejections,
    Pace,
    is_outlier,
)


def pace(token_ms: float = 10.0, batch_size: float = 4.0, *, is_busy: bool = True) -> Pace:
    return Pace(token_ms=token_ms, batch_size=batch_size, is_busy=is_busy)


SLOW = {"slow": pace(100.0), "a": pace(), "b": pace()}
WELL = {**SLOW, "slow": pace()}


def ejected_at(ejections: Ejections[str], paces: dict[str, Pace], now_s: float) -> frozenset[str]:
    """After reports for as long as it takes to eject."""
    ejections.update(paces, now_s - SLOW_FOR_S)
    return ejections.update(paces, now_s)


def test_who_is_slow_for_long_enough_is_out_and_comes_back():
    ejections: Ejections[str] = Ejections()

    assert ejections.update(SLOW, 0.0) == set()
    assert ejections.update(SLOW, SLOW_FOR_S - 0.1) == set()
    assert ejections.update(SLOW, SLOW_FOR_S) == {"slow"}
    assert ejections.update(SLOW, SLOW_FOR_S + EJECTION_S - 0.1) == {"slow"}
    assert ejections.update(SLOW, SLOW_FOR_S + EJECTION_S) == set()


def test_a_moment_of_slowness_is_forgiven():
    ejections: Ejections[str] = Ejections()
    ejections.update(SLOW, 0.0)
    ejections.update(WELL, 3.0)

    assert ejections.update(SLOW, SLOW_FOR_S) == set()


def test_each_further_ejection_is_longer_up_to_a_bound():
    ejections: Ejections[str] = Ejections()
    now_s, lasted = 0.0, []
    for _ in range(12):
        now_s += SLOW_FOR_S
        assert ejected_at(ejections, SLOW, now_s)
        start_s = now_s
        while ejections.update(SLOW, now_s):
            now_s += 1.0
        lasted.append(now_s - start_s)

    assert lasted[:3] == [EJECTION_S, 2 * EJECTION_S, 3 * EJECTION_S]
    assert max(lasted) == LONGEST_EJECTION_S


def test_who_does_well_again_has_it_forgotten():
    ejections: Ejections[str] = Ejections()
    ejected_at(ejections, SLOW, SLOW_FOR_S)
    ejections.update(WELL, SLOW_FOR_S + 2 * EJECTION_S)

    assert ejected_at(ejections, SLOW, 200.0) == {"slow"}
    assert ejections.update(SLOW, 200.0 + EJECTION_S) == set()


def test_who_is_lost_for_a_moment_stays_out():
    ejections: Ejections[str] = Ejections()
    ejected_at(ejections, SLOW, SLOW_FOR_S)
    ejections.update({"a": pace(), "b": pace()}, SLOW_FOR_S + 1.0)

    assert ejections.update(SLOW, SLOW_FOR_S + 2.0) == {"slow"}


@pytest.mark.parametrize(
    ("slow", "is_out"),
    [
        (pace(31.0), True),
        (pace(30.0), False),
        (pace(31.0, batch_size=8.0), False),  # twice the batch may take twice the time
        (pace(61.0, batch_size=8.0), True),
        (pace(100.0, is_busy=False), False),  # what it measured is old
    ],
)
def test_slow_is_three_times_the_median_at_the_same_batch(slow, is_out):
    assert is_outlier(slow, [pace(5.0), pace(10.0), pace(15.0)]) == is_out


def test_who_has_nobody_to_be_compared_with_is_not_slow():
    assert not is_outlier(pace(100.0), [])
    assert not is_outlier(pace(100.0), [pace(0.0)])


def test_of_two_the_slower_is_out_and_the_other_stays():
    ejections: Ejections[str] = Ejections()

    assert ejected_at(ejections, {"slow": pace(100.0), "a": pace()}, SLOW_FOR_S) == {"slow"}


paces = st.builds(
    Pace, token_ms=st.floats(0, 1e3), batch_size=st.floats(0, 64), is_busy=st.booleans()
)


@given(st.lists(st.dictionaries(st.integers(0, 8), paces), max_size=30), st.floats(0.1, 20.0))
def test_never_more_than_a_share_of_the_pool_is_ejected_anew(reports, step_s):
    ejections: Ejections[int] = Ejections()
    before: frozenset[int] = frozenset()
    for step, report in enumerate(reports):
        out = ejections.update(report, step * step_s)
        assert out <= report.keys()
        if out - before:
            assert len(out) <= max(1, LARGEST_SHARE * len(report))
            assert len(report) > 1
        before = out
