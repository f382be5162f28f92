"""Taus are those of classifier.evaluate, their resamples those of the resampled rows."""

import numpy as np
import pytest

from classifier.evaluate import rank_correlation
from classifier.gate.ranking import Pairs, is_below
from classifier.gate.resampling import Interval
from tests.classifier.gate.logs import lognormal_needs, world

NUM_ROWS = 300


@pytest.fixture
def logged():
    rng = np.random.default_rng(0)
    medians = np.exp(rng.uniform(2.0, 8.0, NUM_ROWS))
    rows = world(rng, lognormal_needs(rng, medians), np.full((NUM_ROWS, 4), 0.25)).rows
    return np.where(medians > 2000, np.inf, medians), rows


def test_tau_is_that_of_the_evaluation(logged):
    medians, rows = logged

    assert Pairs.of(rows).taus(medians)[0] == pytest.approx(rank_correlation(medians, rows.data))


def test_resampled_tau_is_that_of_the_rows_as_often_as_they_were_drawn(logged):
    medians, rows = logged
    pairs = Pairs.of(rows)
    _, resampled = pairs.taus(medians)

    for index in (0, 17, 299):
        drawn = np.repeat(pairs.chosen, pairs.times[index].astype(int))
        expected = rank_correlation(medians[drawn], rows.data.rows(drawn))
        assert resampled[index] == pytest.approx(expected, abs=1e-6)


def test_resampled_taus_hold_the_tau_in_their_middle(logged):
    medians, rows = logged
    exact, resampled = Pairs.of(rows).taus(medians)

    low, high = np.percentile(resampled, (2.5, 97.5))
    assert low < exact < high
    assert high - low < 0.2


@pytest.mark.parametrize(
    ("difference", "below"),
    [
        (Interval(0.0, 0.0, 0.0), False),
        (Interval(-0.005, -0.008, -0.002), False),  # within the margin, however certain
        (Interval(-0.05, -0.12, 0.02), False),  # may be chance
        (Interval(-0.05, -0.08, -0.02), True),
        (Interval(float("nan"), float("nan"), float("nan")), True),
    ],
)
def test_below_needs_size_and_certainty(difference, below):
    assert is_below(difference) is below
