"""The guard's test: it may be looked at any time, keeps its level, and finds what matters."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.guard import GuardConfig, highest_rate, lowest_rate, objection

CONFIG = GuardConfig()
LOOK_EVERY = 20
LEVELS = st.floats(1e-6, 0.2)


@dataclass(frozen=True)
class Tally:
    decided: int
    missed: int
    expected: float


@st.composite
def tallies(draw):
    decided = draw(st.integers(0, 100_000))
    return Tally(decided, draw(st.integers(0, decided)), draw(st.floats(0, decided)))


def first_objection(
    rng: np.random.Generator, rate: float, predicted: float, rival_rate: float, most: int
) -> int | None:
    """After how many requests of the canary it is rolled back; the champion decides 19 times as
    many, and the guard looks every LOOK_EVERY requests.
    """
    missed = np.cumsum(rng.random(most) < rate)
    rivals = np.cumsum(rng.binomial(19, rival_rate, most))
    for decided in range(LOOK_EVERY, most + 1, LOOK_EVERY):
        version = Tally(decided, int(missed[decided - 1]), predicted * decided)
        rival = Tally(19 * decided, int(rivals[decided - 1]), 0.0)
        if objection(version, rival, CONFIG):
            return decided
    return None


def stops(trials: int, rate: float, predicted: float, rival_rate: float, *, most: int) -> list[int]:
    rng = np.random.default_rng(5)
    found = [first_objection(rng, rate, predicted, rival_rate, most) for _ in range(trials)]
    return [decided for decided in found if decided is not None]


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.6])
def test_false_alarms_are_rarer_than_the_level_says(rate):
    """As bad as is tolerated, by both comparisons, looked at 100 times."""
    alarms = stops(200, rate + CONFIG.tolerance, rate, rate, most=2_000)

    # 2 are allowed on average; by chance more than 7 in one of 900 such tests.
    assert len(alarms) <= 7


def test_a_doubled_miss_rate_is_found_within_a_thousand_requests_of_the_canary():
    found = stops(200, 0.2, 0.1, 0.1, most=1_000)

    assert len(found) >= 198
    assert np.median(found) <= 300


def test_one_that_predicts_its_own_misses_is_found_beside_the_champion():
    found = stops(200, 0.2, 0.2, 0.1, most=1_500)

    assert len(found) >= 198


def test_the_words_tell_what_was_seen():
    much = Tally(1_000, 300, 100.0)

    assert objection(much, None, CONFIG) == (
        "300 of 1000 first budgets did not suffice (30.0%), 10.0% were predicted: "
        "too many with 99% confidence"
    )
    beside = objection(Tally(1_000, 300, 300.0), Tally(10_000, 1_000, 1_000.0), CONFIG)
    assert "10.0% of the champion's" in beside


@given(tallies(), tallies())
def test_no_requests_no_objection_and_nothing_overflows(version, rival):
    assert objection(Tally(0, 0, 0.0), rival, CONFIG) == ""
    assert objection(version, Tally(0, 0, 0.0), CONFIG) == objection(version, None, CONFIG)
    if version.missed <= version.expected:
        assert objection(version, None, CONFIG) == ""


@given(tallies(), LEVELS)
def test_the_bounds_hold_the_rate_between_them(tally, level):
    rate = tally.missed / tally.decided if tally.decided else 0.5
    low, high = (bound(tally.missed, tally.decided, level) for bound in (lowest_rate, highest_rate))

    assert 0.0 <= low <= rate <= high <= 1.0


@given(st.integers(1, 5_000), st.data(), LEVELS)
def test_more_misses_never_speak_for_a_version(decided, data, level):
    missed = data.draw(st.integers(0, decided - 1))

    assert lowest_rate(missed, decided, level) <= lowest_rate(missed + 1, decided, level)
