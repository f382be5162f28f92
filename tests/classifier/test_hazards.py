"""What stands in for a regression where a bin has too little to learn from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.hazards import guessed_hazards
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

WIDTHS = np.diff(np.log([1, *NEED_BIN_EDGES]))


def counts_of_rate(rate: float, num_seen: int, rows: int = 1_000_000):
    """Counts of needs whose hazard is constant in log tokens, nobody at risk from a bin on."""
    hazards = 1.0 - np.exp(-rate * WIDTHS)
    at_risk = rows * np.concatenate([[1.0], np.cumprod(1.0 - hazards)[:-1]])
    at_risk[num_seen:] = 0.0
    at_risk = at_risk.astype(np.int64)
    return (at_risk * hazards).astype(np.int64), at_risk


def test_bins_that_nobody_reached_go_on_as_the_last_ones_did():
    events, at_risk = counts_of_rate(0.7, num_seen=20)

    beyond = guessed_hazards(events, at_risk)[20:]

    assert beyond == pytest.approx(1.0 - np.exp(-0.7 * WIDTHS[20:]), abs=0.02)


def test_a_few_outcomes_move_the_guess_less_than_many_before_them():
    events, at_risk = counts_of_rate(0.7, num_seen=19)
    before = guessed_hazards(events, at_risk)[20]
    events[19], at_risk[19] = 2, 2

    assert before < guessed_hazards(events, at_risk)[20] < before + 0.1


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=24))
def test_guesses_are_hazards_whatever_was_counted(cells):
    events, at_risk = np.zeros((2, NUM_NEED_BINS), dtype=np.int64)
    for index, cell in enumerate(cells):
        events[index], at_risk[index] = min(cell), max(cell)

    assert all(0.0 < guess < 1.0 for guess in guessed_hazards(events, at_risk))
