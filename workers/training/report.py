"""The evaluation as text for people and as figures for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

from workers.training.shares import NO_TRIALS, Share

Figures = dict[str, Any]


@dataclass(slots=True)
class FamilyResult:
    """Counts for one family of questions."""

    accuracy: dict[int, Share] = field(default_factory=dict)  # by thinking budget, tokens
    steps: Share = NO_TRIALS
    claims: Share = NO_TRIALS  # true among the attempts that claim a hit
    finished: Share = NO_TRIALS  # stopped by itself within the largest budget
    well_formed_when_cut: Share = NO_TRIALS
    thinking_tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """The same results twice."""

    text: str
    figures: Figures


def render(results: Mapping[str, FamilyResult], *, temperature: float, seconds: float) -> Report:
    """Tabulate accuracy by budget per family and for the mix of Countdown sizes 4 to 6."""
    mix = [results[name] for name in ("countdown-4", "countdown-5", "countdown-6")]
    budgets = list(mix[0].accuracy)
    lines = [_row("", [f"{budget} tokens" for budget in budgets])]
    for name, result in results.items():
        cells = [str(result.accuracy[b]) if b in result.accuracy else "" for b in budgets]
        lines.append(_row(f"{name} (n={result.finished.count})", cells))
    mixed = {b: sum((result.accuracy[b] for result in mix), NO_TRIALS) for b in budgets}
    lines.append(_row("countdown 4-6 mix", [str(share) for share in mixed.values()]))
    lines += ["", *_detail_rows(results)]
    lines += ["", f"temperature {temperature}, {seconds:.0f} s"]
    figures = {name: _figures(result) for name, result in results.items()}
    figures["countdown-mix"] = {"accuracy": {str(b): _share(s) for b, s in mixed.items()}}
    return Report("\n".join(lines), figures)


def _row(label: str, cells: list[str]) -> str:
    return f"{label:24}" + "".join(f"{cell:>23}" for cell in cells)


def _detail_rows(results: Mapping[str, FamilyResult]) -> list[str]:
    titles = ["steps right", "claims true", "stopped by itself", "well formed cut", "mean / median"]
    rows = [_row("", titles)]
    for name, result in results.items():
        tokens = result.thinking_tokens
        shares = (result.steps, result.claims, result.finished, result.well_formed_when_cut)
        cells = [str(share) if share.count else "" for share in shares]
        rows.append(_row(name, [*cells, f"{mean(tokens):.0f} / {median(tokens):.0f}"]))
    return rows


def _figures(result: FamilyResult) -> Figures:
    return {
        "accuracy": {str(budget): _share(share) for budget, share in result.accuracy.items()},
        "steps_right": _share(result.steps),
        "claims_true": _share(result.claims),
        "stopped_by_itself": _share(result.finished),
        "well_formed_when_cut": _share(result.well_formed_when_cut),
        "mean_thinking_tokens": mean(result.thinking_tokens),
        "median_thinking_tokens": median(result.thinking_tokens),
    }


def _share(share: Share) -> Figures | None:
    if not share.count:
        return None
    low, high = share.interval
    return {"value": share.value, "low": low, "high": high, "n": share.count}
