"""ADWIN: rarely alarmed by chance, soon alarmed by a change, and in memory that hardly grows."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.drift.adwin import Adwin


def bits(rng: Random, share: float, count: int) -> list[float]:
    return [float(rng.random() < share) for _ in range(count)]


def changes(values: list[float]) -> list[int]:
    adwin = Adwin()
    found = [adwin.add(value) for value in values]
    return [change.at for change in found if change]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_a_stream_that_does_not_change_is_rarely_reported(share):
    alarmed = [bool(changes(bits(Random(seed), share, 2_000))) for seed in range(50)]

    assert sum(alarmed) <= 2


def test_a_change_is_seen_soon_and_the_window_holds_what_came_after():
    rng = Random(3)
    adwin = Adwin()
    found = [adwin.add(value) for value in bits(rng, 0.05, 2_000) + bits(rng, 0.25, 600)]

    first, *_ = [change for change in found if change]
    assert 2_000 < first.at < 2_250
    assert first.before == pytest.approx(0.05, abs=0.02)
    assert first.before < first.after
    # What is left of the old part is no longer told apart from the new.
    assert 600 <= adwin.width < 1_000
    assert 0.15 < adwin.mean < 0.3


def test_a_slow_rise_is_seen_too():
    rng = Random(5)
    values = [float(rng.random() < 0.02 + 0.3 * step / 4_000) for step in range(4_000)]

    assert changes(values)


@given(st.lists(st.floats(0.0, 1.0), max_size=300))
def test_the_window_is_of_the_last_values(values):
    adwin = Adwin()
    for value in values:
        adwin.add(value)

    last = values[len(values) - adwin.width :]
    assert adwin.width <= len(values)
    assert adwin.mean == pytest.approx(sum(last) / max(1, len(last)), abs=1e-9)


def test_memory_grows_with_the_logarithm_of_the_window():
    adwin = Adwin()
    for _ in range(20_000):
        adwin.add(0.5)

    assert adwin.width == 20_000
    assert len(adwin._buckets) < 100


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_value_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match="not 0 to 1"):
        Adwin().add(value)
