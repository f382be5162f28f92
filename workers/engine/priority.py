"""Who runs first: two levels, and the requests that wait in each. No torch, no clock of its own.

A request is protected by the service it has had, not by what was predicted for it: predictions
that send easy work into the wrong queue cost more at the tail than having only one.
"""

from bisect import insort
from collections.abc import Iterator
from enum import IntEnum
from itertools import chain

from workers.engine.config import EngineConfig
from workers.engine.sequence import Sequence
from workers.engine.thinking import Phase


class Level(IntEnum):
    """The lower runs first."""

    PROBATION = 0
    DEMOTED = 1


def expected_remaining_tokens(sequence: Sequence) -> float:
    """Tokens that a request is expected to sample yet, at most those it may.

    What its prediction leaves. Without one, or beyond it, as many as it has had: the mean
    residual life of a Pareto distribution of index 2, the heavy tail of thinking lengths.
    """
    expected = sequence.request.expected_thinking_tokens
    thought = sequence.thinking.thinking_tokens
    remaining = float(sequence.attained_tokens)
    if sequence.thinking.phase is Phase.THINK and expected is not None and expected > thought:
        remaining = expected - thought
    return min(remaining, sequence.thinking.most_remaining_tokens)


class WaitingQueue:
    """The requests without a slot: on probation by arrival, demoted by rank.

    A demoted request's rank is its expected remaining tokens, less the aging of its wait. All
    ranks fall at the same pace, so that the order is fixed when a request comes in.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._probation_tokens = config.probation_tokens
        self._aging_tokens_per_s = config.aging_tokens_per_s
        self._entries: dict[Level, list[tuple[float, int, Sequence]]] = {
            level: [] for level in Level
        }

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def __iter__(self) -> Iterator[Sequence]:
        return (entry[-1] for entry in chain.from_iterable(self._entries.values()))

    def level(self, sequence: Sequence) -> Level:
        """The level of a request, waiting or running."""
        is_demoted = sequence.attained_tokens >= self._probation_tokens
        return Level.DEMOTED if is_demoted else Level.PROBATION

    def add(self, sequence: Sequence, now_s: float) -> None:
        """Let a request wait, for the first time or again."""
        sequence.queued_s = now_s
        level = self.level(sequence)
        rank = 0.0
        if level is Level.DEMOTED:
            rank = expected_remaining_tokens(sequence) + self._aging_tokens_per_s * now_s
        insort(self._entries[level], (rank, sequence.order, sequence))

    def first(self, level: Level) -> Sequence | None:
        """The next of a level, if any waits."""
        entries = self._entries[level]
        return entries[0][-1] if entries else None

    def remove(self, sequence: Sequence) -> None:
        """Take a request out, wherever it stands."""
        for entries in self._entries.values():
            for index, entry in enumerate(entries):
                if entry[-1] is sequence:
                    del entries[index]
                    return
        raise ValueError("the request does not wait")
