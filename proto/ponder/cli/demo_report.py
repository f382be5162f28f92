"""The tables of `ponder demo`, and the same as one JSON document."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ponder.cli.demo_run import Outcome, Shift
from ponder.cli.output import as_dict
from ponder.cli.words import stop_word, tier_word
from ponder.v1.reasoner_pb2 import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a demo found out. `duration_s` is from the command's start."""

    outcomes: Sequence[Outcome]
    shifts: Sequence[Shift]
    duration_s: float

    @property
    def num_answered(self) -> int:
        return sum(outcome.reply is not None for outcome in self.outcomes)

    @property
    def num_right(self) -> int:
        return sum(outcome.is_right for outcome in self.outcomes)

    @property
    def all_answered(self) -> bool:
        """What the exit status says."""
        return self.num_answered == len(self.outcomes)

    def verdict(self) -> str:
        """One line."""
        moved = sum(shift.has_moved for shift in self.shifts)
        tiers = {o.reply.decision.tier for o in self.outcomes if o.reply is not None}
        return (
            f"{self.num_answered} of {len(self.outcomes)} questions answered, "
            f"{self.num_right} right, in {len(tiers)} tiers; "
            f"{moved} of {len(self.shifts)} predictions moved; {self.duration_s:.0f} s"
        )


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per question."""
    table = Table(box=box.SIMPLE_HEAD, title="What was asked", title_justify="left")
    table.add_column("prompt", ratio=3)
    for name in ("tier", "thinking", "stopped", "esc."):
        table.add_column(name, justify="right" if name in ("thinking", "esc.") else "left")
    table.add_column("answer", ratio=2, overflow="fold")
    table.add_column("")
    table.add_column("ms", justify="right")
    for outcome in outcomes:
        table.add_row(*_outcome_cells(outcome))
    return table


def shift_table(shifts: Sequence[Shift]) -> Table:
    """One row per prompt: chance that each budget does not suffice, before and after."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="What was learned: chance that a budget does not suffice, before and after",
        title_justify="left",
    )
    table.add_column("prompt", ratio=1)
    for entry in shifts[0].before.survival if shifts else ():
        table.add_column(f"> {entry.budget_tokens} tokens", justify="right", no_wrap=True)
    table.add_column("90 % need up to", justify="right", no_wrap=True)
    for shift in shifts:
        table.add_row(shift.prompt, *_shift_cells(shift))
    return table


def as_document(report: Report) -> dict[str, Any]:
    """For --json."""
    return {
        "questions": [_outcome_document(outcome) for outcome in report.outcomes],
        "predictions": [
            {
                "prompt": shift.prompt,
                "before": as_dict(shift.before),
                "after": as_dict(shift.after),
            }
            for shift in report.shifts
        ],
        "num_answered": report.num_answered,
        "num_right": report.num_right,
        "duration_s": round(report.duration_s, 3),
        "verdict": report.verdict(),
    }


def _outcome_cells(outcome: Outcome) -> tuple[Text, ...]:
    condition = outcome.question.condition
    prompt = Text(outcome.question.prompt + (f" [{condition}]" if condition else ""))
    if outcome.reply is None:
        error = Text(str(outcome.error), style="red")
        return prompt, Text(""), Text(""), Text(""), Text(""), error, Text("failed"), Text("")
    reply = outcome.reply
    return (
        prompt,
        Text(tier_word(reply.decision.tier)),
        Text(f"{reply.usage.thinking_tokens}/{reply.decision.budget_tokens}"),
        Text(stop_word(reply.thinking_stop)),
        Text(str(reply.usage.escalations or "")),
        Text(reply.answer.strip()),
        Text("right", style="green") if outcome.is_right else Text("wrong", style="red"),
        Text(f"{reply.timings.total_ms:.0f}"),
    )


def _shift_cells(shift: Shift) -> list[str]:
    pairs = zip(shift.before.survival, shift.after.survival, strict=True)
    cells = [_arrow(f"{old.survival:.4f}", f"{new.survival:.4f}") for old, new in pairs]
    return [*cells, _arrow(_p90(shift.before), _p90(shift.after))]


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} \N{RIGHTWARDS ARROW} {new}"


def _p90(decision: Decision) -> str:
    return str(decision.need.p90_tokens) if decision.HasField("need") else "unknown"


def _outcome_document(outcome: Outcome) -> dict[str, Any]:
    question = outcome.question
    document: dict[str, Any] = {
        "prompt": question.prompt,
        "condition": question.condition,
    }
    if outcome.reply is None:
        return {**document, "error": str(outcome.error)}
    return {**document, "reply": as_dict(outcome.reply), "right": outcome.is_right}
