"""Who runs first: levels of attained service, and who waits in each. No torch, no clock of its own.

A request is protected by the service it has had, not by what was predicted for it: predictions
that send easy work into the wrong queue cost more at the tail than having only one. Each level of
the probation ends at twice the tokens of the one before, so that what a request waits for has had
at most about as much as itself, however short it is: foreground-background scheduling in steps
(Nuyens and Wierman, "The Foreground-Background queue: a survey", Performance Evaluation 65, 2008).
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from itertools import chain
from typing import Final

from workers.engine.config import EngineConfig
from workers.engine.sequence import Sequence
from workers.engine.thinking import Phase

PROBATION_LEVELS: Final = 5
"""The lower runs first; the first ends at a sixteenth of the probation."""

DEMOTED: Final = PROBATION_LEVELS
"""The level of those that have outlived their probation."""


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
    """The requests without a slot: by level; in the first by arrival, in the others by rank.

    A rank is what is expected to remain, less the aging of the wait. All ranks fall at the same
    pace, so that the order is fixed when a request comes in.
    """

    def __init__(self, config: EngineConfig) -> None:
        most = config.probation_tokens
        # Attained tokens at which each level of the probation ends.
        self.level_ends = tuple(most / 2**k for k in reversed(range(PROBATION_LEVELS)))
        self._aging_tokens_per_s = config.aging_tokens_per_s
        self._entries: tuple[list[tuple[float, int, Sequence]], ...] = tuple(
            [] for _ in range(DEMOTED + 1)
        )

    def __len__(self) -> int:
        return sum(map(len, self._entries))

    def __iter__(self) -> Iterator[Sequence]:
        return (entry[-1] for entry in chain.from_iterable(self._entries))

    def level(self, sequence: Sequence) -> int:
        """The level of a request, waiting or running."""
        return bisect_right(self.level_ends, sequence.attained_tokens)

    def add(self, sequence: Sequence, now_s: float) -> None:
        """Let a request wait, for the first time or again."""
        sequence.queued_s = now_s
        level = self.level(sequence)
        rank = 0.0
        if level > 0:
            rank = expected_remaining_tokens(sequence) + self._aging_tokens_per_s * now_s
        insort(self._entries[level], (rank, sequence.order, sequence))

    def first_on_probation(self) -> Sequence | None:
        """The next of those on probation, if any waits."""
        return next((entries[0][-1] for entries in self._entries[:DEMOTED] if entries), None)

    def first_demoted(self) -> Sequence | None:
        """The next of the others, if any waits."""
        entries = self._entries[DEMOTED]
        return entries[0][-1] if entries else None

    def remove(self, sequence: Sequence) -> None:
        """Take a request out, wherever it stands."""
        for entries in self._entries:
            for index, entry in enumerate(entries):
                if entry[-1] is sequence:
                    del entries[index]
                    return
        raise ValueError("the request does not wait")
