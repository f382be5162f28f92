"""Sums over the last minute, by key, for whoever looks at a router now. No history, no export."""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 60

Key = tuple[str, ...]


class RecentSums:
    """Keeps one counter per second of the last `window_s`. Keys are from closed sets."""

    def __init__(
        self, window_s: int = WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.window_s = window_s
        self._clock = clock
        self._started_s = clock()
        self._seconds: deque[tuple[int, Counter[Key]]] = deque()

    @property
    def covered_s(self) -> float:
        """The time that the sums are of: less than the window at first, never below 1."""
        return min(float(self.window_s), max(1.0, self._clock() - self._started_s))

    def add(self, *key: str, amount: float = 1) -> None:
        """Adds to the sum of the key."""
        second = int(self._clock())
        if not self._seconds or self._seconds[-1][0] != second:
            self._forget(second)
            self._seconds.append((second, Counter()))
        # A counter takes amounts that are no whole numbers; its type does not say so.
        self._seconds[-1][1][key] += amount  # type: ignore[assignment]

    def sums(self) -> Counter[Key]:
        """Everything within the window, by key."""
        self._forget(int(self._clock()))
        total: Counter[Key] = Counter()
        for _, counted in self._seconds:
            total.update(counted)
        return total

    def _forget(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - self.window_s:
            self._seconds.popleft()
