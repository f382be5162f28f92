"""How well a confidence ranks and predicts correctness, with intervals by resampling problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from workers.training.evaluation import UNDEFINED, Estimate

NUM_BINS = 15
NUM_RESAMPLES = 1000
_SEED = 20

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Metric = Callable[[Floats, Bools], float]


def auroc(confidence: Floats, is_right: Bools) -> float:
    """Probability that a right answer has more confidence than a wrong one; ties count half.

    NaN without answers of both kinds. Computed by ranks (Mann and Whitney, 1947).
    """
    num_right = int(is_right.sum())
    num_wrong = len(is_right) - num_right
    if not num_right or not num_wrong:
        return float("nan")
    _, inverse, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    last_rank = counts.cumsum()
    mid_ranks = (last_rank - (counts - 1) / 2)[inverse]
    return float((mid_ranks[is_right].sum() / num_right - (num_right + 1) / 2) / num_wrong)


def expected_calibration_error(confidence: Floats, is_right: Bools) -> float:
    """Mean distance between confidence and accuracy over bins of equal mass; NaN without answers.

    Source: Nguyen and O'Connor, EMNLP 2015 (equal mass); Guo et al., ICML 2017 (15 bins).
    """
    if not len(confidence):
        return float("nan")
    error = 0.0
    for members in np.array_split(np.argsort(confidence, kind="stable"), NUM_BINS):
        if len(members):
            gap = confidence[members].mean() - is_right[members].mean()
            error += abs(float(gap)) * len(members) / len(confidence)
    return error


def metric_estimate(
    metric: Metric, confidence: Sequence[Sequence[float]], is_right: Sequence[Sequence[bool]]
) -> Estimate:
    """A metric with its 95 % bootstrap interval; one inner sequence per problem, resampled whole.

    Answers to one problem resemble each other: to resample single answers would pretend to more
    evidence than there is. NaN without answers.
    """
    values = [np.array(item, float) for item in confidence if len(item)]
    outcomes = [np.array(item, bool) for item in is_right if len(item)]
    if not values:
        return UNDEFINED
    draws = [_of_chosen(metric, values, outcomes, c) for c in _resamples(len(values))]
    everything = np.arange(len(values))
    value = _of_chosen(metric, values, outcomes, everything)
    return Estimate(value, *_percentiles(np.array(draws)), sum(map(len, values)))


def _of_chosen(
    metric: Metric, values: list[Floats], outcomes: list[Bools], chosen: NDArray[np.int64]
) -> float:
    return metric(
        np.concatenate([values[i] for i in chosen]), np.concatenate([outcomes[i] for i in chosen])
    )


def mean_estimate(values: Sequence[float]) -> Estimate:
    """A mean over problems with its 95 % bootstrap interval."""
    return ratio_estimate(values, [1.0] * len(values))


def ratio_estimate(parts: Sequence[float], wholes: Sequence[float]) -> Estimate:
    """sum(parts) / sum(wholes), one of each per problem, with its 95 % bootstrap interval."""
    if not parts:
        return UNDEFINED
    above, below = np.array(parts, float), np.array(wholes, float)
    draws = [above[chosen].sum() / below[chosen].sum() for chosen in _resamples(len(above))]
    return Estimate(float(above.sum() / below.sum()), *_percentiles(np.array(draws)), len(above))


def _resamples(count: int) -> list[NDArray[np.int64]]:
    generator = np.random.default_rng(_SEED)
    return [generator.integers(0, count, count) for _ in range(NUM_RESAMPLES)]


def _percentiles(draws: Floats) -> tuple[float, float]:
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return (float("nan"), float("nan"))
    low, high = np.percentile(defined, [2.5, 97.5])
    return (float(low), float(high))
