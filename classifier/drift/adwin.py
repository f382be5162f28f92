"""ADWIN: has the mean of a stream changed, and since when?

A window that grows while nothing changes and drops its old part when some cut in it separates two
means that differ by more than chance. Source: A. Bifet and R. Gavalda (2007), "Learning from
Time-Changing Data with Adaptive Windowing", SDM; the bound is that of ADWIN2, section 3.

The package `river` has it too, and brings pandas and scipy. This is all of it that is needed here.
"""

import math
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

CONFIDENCE: Final = 0.002
"""Bound on the probability of a false change at one step of the test; that of the authors."""

_BUCKETS_PER_SIZE: Final = 5
_MIN_PART: Final = 30
# A test costs as much as there are buckets; a change is seen at most this many values later.
_TEST_EVERY: Final = 16


@dataclass(slots=True)
class _Bucket:
    """Consecutive values: their number, a power of 2, their sum and sum of squares."""

    size: int
    total: float
    squares: float

    def joined(self, later: "_Bucket") -> "_Bucket":
        return _Bucket(
            self.size + later.size, self.total + later.total, self.squares + later.squares
        )


@dataclass(frozen=True, slots=True)
class Change:
    """Found at value number `at`, counted from 0: the mean was `before` and became `after`."""

    at: int
    before: float
    after: float


class Adwin:
    """Takes values from 0 to 1, one by one. Memory and time grow with the log of the window."""

    def __init__(self, confidence: float = CONFIDENCE) -> None:
        self._confidence = confidence
        self._buckets: deque[_Bucket] = deque()  # oldest first, sizes never rise
        self._num_seen = 0

    @property
    def width(self) -> int:
        """How many of the last values belong together."""
        return sum(bucket.size for bucket in self._buckets)

    @property
    def mean(self) -> float:
        """Of the window; 0 when it is empty."""
        total = sum(bucket.total for bucket in self._buckets)
        return min(1.0, total / max(1, self.width))

    def add(self, value: float) -> Change | None:
        """The change that this value brought to light, if it did. Raises ValueError."""
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"value is {value}, not 0 to 1")
        self._buckets.append(_Bucket(1, value, value * value))
        self._compress()
        self._num_seen += 1
        if self._num_seen % _TEST_EVERY:
            return None
        before, is_changed = self.mean, False
        while (cut := self._cut()) is not None:
            if not is_changed:
                before, is_changed = cut, True
            self._buckets.popleft()
        return Change(self._num_seen - 1, before, self.mean) if is_changed else None

    def _compress(self) -> None:
        """Joins the two oldest of a size when there are more than _BUCKETS_PER_SIZE of it."""
        buckets = list(self._buckets)
        end = len(buckets)
        while True:
            size = buckets[end - 1].size
            start = end
            while start > 0 and buckets[start - 1].size == size:
                start -= 1
            if end - start <= _BUCKETS_PER_SIZE:
                break
            buckets[start : start + 2] = [buckets[start].joined(buckets[start + 1])]
            end = start + 1
        self._buckets = deque(buckets)

    def _cut(self) -> float | None:
        """The mean of the older part where a cut separates two means; None when no cut does."""
        width, mean = self.width, self.mean
        squares = sum(bucket.squares for bucket in self._buckets)
        variance = max(0.0, squares / max(1, width) - mean * mean)
        sizes = accumulate(bucket.size for bucket in self._buckets)
        totals = list(accumulate(bucket.total for bucket in self._buckets))
        for size, total in zip(sizes, totals, strict=True):
            rest = width - size
            if size < _MIN_PART or rest < _MIN_PART:
                continue
            difference = abs(total / size - (totals[-1] - total) / rest)
            if difference > self._bound(size, rest, variance):
                return total / size
        return None

    def _bound(self, older: int, newer: int, variance: float) -> float:
        harmonic = 1.0 / (1.0 / older + 1.0 / newer)
        evidence = math.log(2.0 * math.log(older + newer) / self._confidence)
        return math.sqrt(2.0 / harmonic * variance * evidence) + 2.0 / (3.0 * harmonic) * evidence
