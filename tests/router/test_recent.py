"""Sums over a window that moves."""

from hypothesis import given
from hypothesis import strategies as st

from router.recent import RecentSums


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_sums_fade_when_the_window_has_passed():
    clock = Clock()
    recent = RecentSums(60, clock)
    recent.add("requests", "simple")
    clock.now_s += 30
    recent.add("requests", "simple", amount=2)
    assert recent.sums() == {("requests", "simple"): 3}

    clock.now_s += 30
    assert recent.sums() == {("requests", "simple"): 2}
    clock.now_s += 30
    assert recent.sums() == {}


def test_what_is_covered_grows_up_to_the_window():
    clock = Clock()
    recent = RecentSums(60, clock)
    covered = []
    for passed_s in (0, 5, 100):
        clock.now_s += passed_s
        covered.append(recent.covered_s)
    assert covered == [1, 5, 60]


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("abc"), st.integers(1, 9))))
def test_the_sums_are_those_of_the_last_seconds(additions):
    clock = Clock()
    recent, added = RecentSums(10, clock), []
    for pause_s, key, amount in additions:
        clock.now_s += pause_s
        recent.add(key, amount=amount)
        added.append((int(clock.now_s), key, amount))

    newest = int(clock.now_s)
    for key in "abc":
        expected = sum(n for at, k, n in added if k == key and at > newest - 10)
        assert recent.sums()[(key,)] == expected
