"""A share of successes with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Share:
    """`successes` of `count` trials."""

    successes: int = 0
    count: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Share:
        """Count outcomes."""
        listed = list(outcomes)
        return cls(sum(listed), len(listed))

    def add(self, success: bool) -> Share:
        """Return the share with one more trial."""
        return Share(self.successes + success, self.count + 1)

    def __add__(self, other: Share) -> Share:
        return Share(self.successes + other.successes, self.count + other.count)

    @property
    def value(self) -> float:
        """Successes over trials; NaN without trials."""
        return self.successes / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval by Wilson's score method (E. B. Wilson, JASA 22, 1927)."""
        if not self.count:
            return (math.nan, math.nan)
        p, n, z2 = self.value, self.count, Z_95**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return (max(0.0, centre - half), min(1.0, centre + half))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


NO_TRIALS = Share()
"""The share to start counting from."""
