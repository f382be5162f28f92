"""Training examples: a question, thinking that solves it, an answer; tokens with what is learned.

    <bos> prompt <think> attempt* hit pass* </think> answer <eos>

A share of the traces is cut at a random token of the thinking and closed with a true answer: that
is what teaches the model to answer whenever its budget ends, with a confidence that means
something (Qi et al. 2025, AnytimeReasoner, do the same by reinforcement learning).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tokenizers import Tokenizer

from workers.training.vocabulary import BOS, END_THINK, EOS, THINK

CUT_SHARE = 0.4
"""Share of traces cut at a random thinking token; one in ten of these has no thinking at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One example before tokenisation.

    `prompt` is None when the example begins amid the thinking. `lines` up to and including number
    `hit` (from 0) are the search; without a hit it is None. `ends` says that the thinking ends
    after the lines, otherwise it breaks off there. `answer` belongs to the hit, `guess` is a true
    answer that is not to be seen in the thinking.
    """

    prompt: str | None
    lines: tuple[str, ...]
    hit: int | None
    ends: bool
    answer: str
    guess: str


@dataclass(slots=True)
class Example:
    """Token ids, and for each whether the model learns to write it."""

    ids: list[int] = field(default_factory=list)
    is_learned: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: list[int], *, is_learned: bool) -> None:
        """Append tokens."""
        self.ids += ids
        self.is_learned += [is_learned] * len(ids)

    def extend(self, other: Example) -> None:
        """Append another example."""
        self.ids += other.ids
        self.is_learned += other.is_learned


class TraceEncoder:
    """Turns traces into examples with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        (self._close,) = tokenizer.encode(END_THINK).ids

    def encode(self, rng: Random, trace: Trace) -> Example:
        """Tokenise a trace, cutting a share of them at a random thinking token.

        Prompts are not learned. The close of a cut trace is not learned either: the model is to
        answer after it, and not to give up by itself.
        """
        example = Example()
        if trace.prompt is not None:
            example.add(self._ids(f"{BOS}{trace.prompt}{THINK}"), is_learned=False)
        lines = [self._ids(line) for line in trace.lines]
        thinking = [token for line in lines for token in line]
        if rng.random() < CUT_SHARE:
            cut = _draw_cut(rng, trace, lines)
            seen = trace.hit is not None and cut >= _hit_end(trace.hit, lines)
            example.add(thinking[:cut], is_learned=True)
            example.add([self._close], is_learned=False)
            answer = trace.answer if seen else trace.guess
            example.add(self._ids(f"{answer}{EOS}"), is_learned=True)
            return example
        example.add(thinking, is_learned=True)
        if trace.ends:
            example.add(self._ids(f"{END_THINK}{trace.answer}{EOS}"), is_learned=True)
        return example

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)


def _draw_cut(rng: Random, trace: Trace, lines: list[list[int]]) -> int:
    """Draw how many thinking tokens remain.

    Without a prompt the first line must be whole: what stood before it is out of sight, so nobody
    could know the answer.
    """
    first = 0 if trace.prompt is not None else len(lines[0])
    if trace.prompt is not None and rng.random() < 0.1:
        return 0
    return rng.randrange(first, sum(map(len, lines)) + 1)


def _hit_end(hit: int, lines: list[list[int]]) -> int:
    """Tokens up to where the solution is to be seen: the hit without its verdict."""
    return sum(map(len, lines[: hit + 1])) - 1
