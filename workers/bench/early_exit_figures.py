"""What each subject of the early-exit bench spent and got right, against no exit, by question."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from workers.engine import ThinkingStop
from workers.training.calibration import mean_estimate, ratio_estimate
from workers.training.evaluation import Estimate

EASY_THINKING_TOKENS: Final = 500
"""What the simple and moderate tiers allow; easy questions need no more without exits."""

BASELINE: Final = "no exit"
PONDER: Final = "ponder"

_EXITS: Final = (ThinkingStop.CONFIDENT, ThinkingStop.CONVERGED, ThinkingStop.GAVE_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One question as one subject answered it; `probe_tokens` and `forced_tokens` as in Usage."""

    thinking_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    thinking_tokens: int
    probe_tokens: int
    forced_tokens: int
    budget_tokens: int
    stop: ThinkingStop
    is_right: bool
    is_empty: bool

    @property
    def spent_tokens(self) -> int:
        """All that stands against the baseline's thinking."""
        return self.thinking_tokens + self.probe_tokens + self.forced_tokens

    @property
    def overshoots(self) -> bool:
        """Whether it thought more than it was allowed, by its count or by its tokens."""
        return max(self.thinking_tokens, len(self.thinking_ids)) > self.budget_tokens

    @property
    def exited(self) -> bool:
        """Whether a controller ended the thinking."""
        return self.stop in _EXITS

    def is_same(self, other: Record) -> bool:
        """Whether both hold the same tokens."""
        mine, others = (self.thinking_ids, self.answer_ids), (other.thinking_ids, other.answer_ids)
        return mine == others


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Shares of the baseline's thinking tokens: `net` is after trials and forced tokens."""

    gross: Estimate
    net: Estimate
    probe: Estimate
    forced: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFigures:
    """A subject against the baseline on the same questions, by 95 % bootstrap over questions.

    `accuracy_change` is in points. `easy` are the savings where the baseline thought at most
    EASY_THINKING_TOKENS. `changed` counts questions without an exit whose tokens differ.
    """

    name: str
    problems: int
    accuracy: Estimate
    accuracy_change: Estimate
    mean_thinking_tokens: float
    savings: Savings
    easy: Savings
    easy_problems: int
    easy_accuracy_change: Estimate
    exits: int
    overshoots: int
    empty_answers: int
    changed: int


def subject_figures(
    name: str, records: Sequence[Record], baseline: Sequence[Record]
) -> SubjectFigures:
    """Compare records with the baseline's of the same questions, in the same order."""
    pairs = list(zip(records, baseline, strict=True))
    easy = [pair for pair in pairs if pair[1].thinking_tokens <= EASY_THINKING_TOKENS]
    return SubjectFigures(
        name=name,
        problems=len(records),
        accuracy=mean_estimate([float(record.is_right) for record in records]),
        accuracy_change=_accuracy_change(pairs),
        mean_thinking_tokens=mean_thinking(records),
        savings=savings(pairs),
        easy=savings(easy),
        easy_problems=len(easy),
        easy_accuracy_change=_accuracy_change(easy),
        exits=sum(record.exited for record in records),
        overshoots=sum(record.overshoots for record in records),
        empty_answers=sum(record.is_empty for record in records),
        changed=sum(_is_changed(*pair) for pair in pairs),
    )


def mean_thinking(records: Sequence[Record]) -> float:
    """Thinking tokens per question."""
    return sum(record.thinking_tokens for record in records) / len(records)


def matched_budget(baseline: Sequence[Record], mean_tokens: float) -> int:
    """The least budget with which the baseline's thinking, cut there, is that long on average.

    That many tokens at least; without a cut at a step's end it is exact to one token a question.
    """
    lengths = sorted(record.thinking_tokens for record in baseline)
    left = mean_tokens * len(lengths)
    for index, length in enumerate(lengths):
        share = left / (len(lengths) - index)
        if share <= length:
            return max(1, math.ceil(share))
        left -= length
    return max(1, lengths[-1])


def savings(pairs: Sequence[tuple[Record, Record]]) -> Savings:
    """Of subject and baseline; ratios of sums, so that long questions weigh what they cost."""
    wholes = [base.thinking_tokens for _, base in pairs]
    parts = {
        "gross": [base.thinking_tokens - one.thinking_tokens for one, base in pairs],
        "net": [base.thinking_tokens - one.spent_tokens for one, base in pairs],
        "probe": [one.probe_tokens for one, _ in pairs],
        "forced": [one.forced_tokens for one, _ in pairs],
    }
    return Savings(**{name: ratio_estimate(values, wholes) for name, values in parts.items()})


def named_estimates(subjects: Mapping[str, SubjectFigures]) -> Iterator[tuple[str, Estimate]]:
    """The figures that have intervals, by the names that the report gives them."""
    ponder = subjects[PONDER]
    yield "gross_saved", ponder.savings.gross
    yield "gross_saved_easy", ponder.easy.gross
    yield "net_saved", ponder.savings.net
    yield "net_saved_easy", ponder.easy.net
    yield "probe_overhead", ponder.savings.probe
    yield "probe_overhead_easy", ponder.easy.probe
    yield "forced_overhead", ponder.savings.forced
    yield "accuracy_change_points", ponder.accuracy_change
    yield "accuracy_change_points_easy", ponder.easy_accuracy_change
    for name, subject in subjects.items():
        yield f"accuracy_{_key(name)}", subject.accuracy
        if name not in (BASELINE, PONDER):
            yield f"net_saved_{_key(name)}", subject.savings.net
            yield f"gross_saved_{_key(name)}", subject.savings.gross
            yield f"accuracy_change_points_{_key(name)}", subject.accuracy_change


def counted(subjects: Mapping[str, SubjectFigures]) -> dict[str, float]:
    """What must not happen in any subject, and how much was measured."""
    everyone = subjects.values()
    return {
        "problems": subjects[BASELINE].problems,
        "easy_problems": subjects[BASELINE].easy_problems,
        "exits": subjects[PONDER].exits,
        "overshoots": sum(subject.overshoots for subject in everyone),
        "empty_answers": sum(subject.empty_answers for subject in everyone),
        "changed_without_exit": sum(subject.changed for subject in everyone),
    }


def _accuracy_change(pairs: Sequence[tuple[Record, Record]]) -> Estimate:
    return mean_estimate([100.0 * (one.is_right - base.is_right) for one, base in pairs])


def _is_changed(record: Record, base: Record) -> bool:
    """A smaller budget may change what was cut; nothing else may without an exit."""
    had_less = record.budget_tokens < base.budget_tokens
    was_cut = had_less and record.stop is ThinkingStop.EXHAUSTED
    return not record.exited and not was_cut and not record.is_same(base)


def _key(name: str) -> str:
    return name.replace(" ", "_")
