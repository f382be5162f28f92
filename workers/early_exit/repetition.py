"""How much the newest thinking repeats what came just before it."""

from __future__ import annotations

from collections import Counter, deque
from math import sqrt


class RepetitionMeter:
    """Cosine between the bigram counts of the last `window` tokens and of the `window` before.

    Bigrams, because single tokens repeat in all thinking: of windows of thinking that still
    searched, up to 61 % had a unigram cosine above 0.9 and at most 0.2 % a bigram cosine (300
    searches for each of 3 to 5 numbers, windows of 50 tokens). Sums are carried along, so that a
    token costs the same whatever the window.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._previous_token: int | None = None
        self._bigrams: deque[tuple[int, int]] = deque()
        self._new: Counter[tuple[int, int]] = Counter()
        self._old: Counter[tuple[int, int]] = Counter()
        self._dot = 0
        self._new_square = 0
        self._old_square = 0

    def feed(self, token: int) -> None:
        """Take the next token."""
        if self._previous_token is not None:
            self._push((self._previous_token, token))
        self._previous_token = token

    @property
    def similarity(self) -> float:
        """0 to 1; 0 until both windows are full."""
        if len(self._bigrams) < 2 * self._window:
            return 0.0
        return self._dot / sqrt(self._new_square * self._old_square)

    def _push(self, bigram: tuple[int, int]) -> None:
        self._bigrams.append(bigram)
        self._change_new(bigram, 1)
        if len(self._bigrams) > self._window:
            ages = self._bigrams[-1 - self._window]
            self._change_new(ages, -1)
            self._change_old(ages, 1)
        if len(self._bigrams) > 2 * self._window:
            self._change_old(self._bigrams.popleft(), -1)

    def _change_new(self, bigram: tuple[int, int], change: int) -> None:
        count = self._new[bigram]
        self._dot += change * self._old[bigram]
        self._new_square += 2 * change * count + 1
        _set(self._new, bigram, count + change)

    def _change_old(self, bigram: tuple[int, int], change: int) -> None:
        count = self._old[bigram]
        self._dot += change * self._new[bigram]
        self._old_square += 2 * change * count + 1
        _set(self._old, bigram, count + change)


def _set(counts: Counter[tuple[int, int]], bigram: tuple[int, int], count: int) -> None:
    if count:
        counts[bigram] = count
    else:
        del counts[bigram]
