"""Reads a thinking in token ids: its right steps, its true claims, where the first hit is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerFast

from workers.training.countdown import Problem
from workers.training.reading import Attempt, claim_is_true, read_attempt, step_is_right
from workers.training.records import NO_STEPS, POSITION_EDGES, ThinkingRecord
from workers.training.shares import Share
from workers.training.systems import System


@dataclass(frozen=True, slots=True)
class Line:
    """One line of thinking; its first token is its newline, at thinking position `start`."""

    start: int
    end: int  # past its last token
    is_complete: bool  # another line follows, or the model itself closed after it
    attempt: Attempt | None  # None when it could not be read


class ThinkingReader:
    """Turns thinking tokens of one tokenizer into records."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        (self._newline,) = tokenizer.encode("\n", add_special_tokens=False)
        self._tokenizer = tokenizer

    def read(
        self, thinking_ids: Sequence[int], problem: Problem | System | None, *, is_finished: bool
    ) -> ThinkingRecord:
        """Read one thinking; without a problem only its steps count."""
        lines = list(self._lines(thinking_ids, is_finished))
        record = ThinkingRecord(
            tokens=len(thinking_ids), is_finished=is_finished, steps=_right_steps(lines)
        )
        if problem is None:
            return record
        return replace(
            record,
            claims=_true_claims(lines, problem),
            lines=Share.of(_is_readable(line) for line in lines if line.is_complete),
            useful_tokens=_useful_tokens(lines, problem),
        )

    def _lines(self, ids: Sequence[int], is_finished: bool) -> Iterator[Line]:
        starts = [i for i, token in enumerate(ids) if token == self._newline]
        ends = [*starts, len(ids)][1:]
        texts = str(self._tokenizer.decode(list(ids))).split("\n")[1:]
        for start, end, text in zip(starts, ends, texts, strict=True):
            yield Line(start, end, end < len(ids) or is_finished, read_attempt(text))


def _right_steps(lines: Sequence[Line]) -> tuple[Share, ...]:
    """The right steps by the position at which their line starts, passes left out.

    A pass copies a line, right or wrong: a hundred passes are not a hundred times the evidence.
    """
    steps = list(NO_STEPS)
    for line in lines:
        if line.attempt is None or line.attempt.is_verification:
            continue
        bucket = bisect_right(POSITION_EDGES, line.start) - 1
        for step in line.attempt.steps:
            steps[bucket] = steps[bucket].add(step_is_right(step))
    return tuple(steps)


def _true_claims(lines: Sequence[Line], problem: Problem | System) -> Share:
    claims = [a for a in _attempts(lines) if a.verdict == "yes" and not a.is_verification]
    return Share.of(claim_is_true(claim, problem) for claim in claims)


def _attempts(lines: Sequence[Line]) -> list[Attempt]:
    return [line.attempt for line in lines if line.attempt is not None]


def _is_readable(line: Line) -> bool:
    return line.attempt is not None and line.attempt.verdict is not None


def _useful_tokens(lines: Sequence[Line], problem: Problem | System) -> int | None:
    hits = (line.end for line in lines if line.attempt and claim_is_true(line.attempt, problem))
    return next(hits, None)
