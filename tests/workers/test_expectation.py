import pytest

from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from workers.expectation import expected_need


def test_without_a_prediction_nothing_is_expected():
    assert expected_need([]) is None


@pytest.mark.parametrize(("certain_bin", "need"), [(0, 8), (1, 20), (19, 8750)])
def test_a_need_that_is_certain_is_the_middle_of_its_bin(certain_bin, need):
    hazards = [0.0] * NUM_NEED_BINS
    hazards[certain_bin] = 1.0

    assert expected_need(hazards) == need


def test_a_need_beyond_the_last_bin_counts_with_its_edge():
    assert expected_need([0.0] * NUM_NEED_BINS) == NEED_BIN_EDGES[-1]


def test_bins_are_weighed_by_who_gets_there():
    hazards = [0.5, 0.5, 1.0, *[0.0] * (NUM_NEED_BINS - 3)]

    assert expected_need(hazards) == 0.5 * 8 + 0.25 * 20 + 0.25 * 29.5
