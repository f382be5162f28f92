"""Bootstrap intervals, with prompts as what is drawn: equal prompts are not independent evidence.

Source: Efron and Tibshirani (1993), "An Introduction to the Bootstrap", percentile intervals;
Field and Welsh (2007), "Bootstrapping Clustered Data".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.survival import Floats

NUM_RESAMPLES: Final = 1_000
_PERCENTILES: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def mean_interval(values: Floats, groups: NDArray[np.int64], seed: int = 0) -> Interval:
    """Of the mean of values (num_rows,)."""
    columns = np.stack([values, np.ones(len(values))], axis=1)
    return interval(columns, groups, lambda sums: sums[:, 0] / sums[:, 1], seed)


def interval(
    columns: Floats,
    groups: NDArray[np.int64],
    statistic: Callable[[Floats], Floats],
    seed: int = 0,
) -> Interval:
    """Of a function of column sums: it takes them as (num_resamples, num_columns) and gives
    (num_resamples,). `columns` is (num_rows, num_columns); rows with the same of `groups`
    (num_rows,) are drawn together.
    """
    num_groups, group = _numbered(groups)
    sums = np.stack([np.bincount(group, column, num_groups) for column in columns.T], axis=1)
    drawn = np.stack([counts @ sums for counts in draws(num_groups, NUM_RESAMPLES, seed)])
    return summarised(float(statistic(sums.sum(axis=0)[np.newaxis])[0]), statistic(drawn))


def row_draws(groups: NDArray[np.int64], num_resamples: int, seed: int = 0) -> NDArray[np.float32]:
    """How often each row is drawn: (num_resamples, num_rows)."""
    num_groups, group = _numbered(groups)
    return np.stack([c[group] for c in draws(num_groups, num_resamples, seed)]).astype(np.float32)


def draws(num_groups: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each group is drawn (num_groups,), again and again."""
    rng = np.random.default_rng(seed)
    for _ in range(num_resamples):
        yield np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)


def summarised(estimate: float, resampled: Floats) -> Interval:
    """The interval of an estimate from its resampled values, without those that are no numbers."""
    usable = resampled[np.isfinite(resampled)]
    if not len(usable):
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.percentile(usable, _PERCENTILES)
    return Interval(estimate, float(low), float(high))


def _numbered(groups: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    names, numbers = np.unique(groups, return_inverse=True)
    return len(names), numbers
