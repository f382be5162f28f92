"""What one step computes, and what came of it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start` to `end` of one sequence, to be prefilled."""

    sequence: Sequence
    start: int
    end: int

    @property
    def num_tokens(self) -> int:
        return self.end - self.start

    @property
    def samples(self) -> bool:
        """Whether the last token of the chunk is the last of the sequence."""
        return self.end == len(self.sequence.ids)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step. Tokens are sampled for `sampled`: decode rows first, then finished chunks."""

    decode: list[Sequence]
    chunks: list[Chunk]
    sampled: list[Sequence]
    sampled_slots: NDArray[np.int64]

    @classmethod
    def of(cls, decode: list[Sequence], chunks: list[Chunk]) -> "StepPlan":
        """A step of these rows."""
        sampled = decode + [chunk.sequence for chunk in chunks if chunk.samples]
        slots = np.fromiter((s.slot for s in sampled), np.int64, len(sampled))
        return cls(decode, chunks, sampled, slots)

    @property
    def decode_slots(self) -> NDArray[np.int64]:
        return self.sampled_slots[: len(self.decode)]

    @property
    def largest(self) -> Sequence:
        """What needs the most memory: the largest prefill, else the longest row."""
        if self.chunks:
            return max(self.chunks, key=lambda chunk: chunk.num_tokens).sequence
        return max(self.decode, key=lambda sequence: len(sequence.pages))

    @property
    def num_prefill_tokens(self) -> int:
        return sum(chunk.num_tokens for chunk in self.chunks)

    @property
    def num_tokens(self) -> int:
        return len(self.decode) + self.num_prefill_tokens

    @property
    def is_empty(self) -> bool:
        return not self.decode and not self.chunks


class SampledRows(NamedTuple):
    """sampler.Sampled on the host, in the order of `StepPlan.sampled`; arrays are (rows,)."""

    tokens: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int) -> "SampledRows":
        """Places to write `count` rows to."""
        logprobs, entropies = np.empty((2, count), np.float32)
        return cls(np.empty(count, np.int64), logprobs, entropies)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The sampled tokens, in the order of `StepPlan.sampled`, and when the step ended.

    A log-probability that is not finite says that the row's logits were not.
    """

    tokens: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    ended_s: float
    duration_s: float
