"""A worker that stood still leaves the requests that its router gave up to whoever resumed them."""

import pytest

from workers.pulse import Pulse


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(("still_s", "expected"), [(0.3, False), (2.3, False), (2.5, True)])
def test_a_standstill_as_long_as_a_router_waits_is_seen(clock, still_s, expected):
    pulse = Pulse(clock)
    clock.now_s += still_s

    assert pulse.has_just_woken() == expected


def test_the_beat_after_it_hides_nothing(clock):
    """Which of the beat and the cancelled calls comes first is chance."""
    pulse = Pulse(clock)
    clock.now_s += 5.0
    pulse.beat()
    clock.now_s += 0.5

    assert pulse.has_just_woken()


def test_it_is_soon_forgotten(clock):
    pulse = Pulse(clock)
    clock.now_s += 5.0
    for _ in range(20):
        pulse.beat()
        clock.now_s += 0.25

    assert not pulse.has_just_woken()
