"""Calibration error: nothing where there is none, however few the rows; else what there is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.gate.calibration import calibration_error


def drawn(rng, num_rows: int, shift: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    predicted = rng.uniform(0.0, 1.0, num_rows)
    return predicted, rng.random(num_rows) < np.clip(predicted + shift, 0.0, 1.0)


def mean_error(num_rows: int, shift: float) -> float:
    rng = np.random.default_rng(0)
    worlds = (drawn(rng, num_rows, shift) for _ in range(100))
    errors = [calibration_error(*predicted, np.ones(num_rows)) for predicted in worlds]
    return float(np.mean(errors))


@pytest.mark.parametrize("num_rows", [500, 1_000, 20_000])
def test_chance_is_not_taken_for_an_error(num_rows):
    rng = np.random.default_rng(1)
    predicted, exceeds = drawn(rng, num_rows)
    bins = np.minimum((predicted * 15).astype(int), 14)
    plain = np.abs(np.bincount(bins, predicted - exceeds)).sum() / num_rows

    assert mean_error(num_rows, shift=0.0) < 0.4 * plain


@pytest.mark.parametrize("shift", [0.05, -0.1])
def test_error_is_found(shift):
    assert mean_error(5_000, shift) == pytest.approx(abs(shift), rel=0.15)


def test_weights_say_for_how_many_a_row_stands():
    predicted = np.repeat([0.2, 0.7], 2_000)
    exceeds = np.concatenate([np.arange(2_000) % 5 == 0, np.arange(2_000) % 2 == 0])
    weights = np.repeat([1.0, 3.0], 2_000)

    # Right in the first half; 0.2 off in the second, which stands for three quarters.
    assert calibration_error(predicted, exceeds, weights) == pytest.approx(0.15, abs=0.005)
