"""The evaluation as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workers.training.evaluation import Estimate, Evaluation, FamilyFigures
from workers.training.evaluator import TIER_BUDGETS

_BUDGETS = (0, *TIER_BUDGETS)


def render(evaluation: Evaluation) -> str:
    """Tabulate accuracy by budget beside the oracle, then every other figure by family."""
    lines = [_row("accuracy within", [f"{budget} tokens" for budget in _BUDGETS])]
    for name, family in evaluation.families.items():
        lines.append(_row(f"{name} (n={family.problems})", _cells(family.accuracy, _BUDGETS)))
        if family.oracle:
            lines.append(_row("  oracle", _cells(family.oracle, _BUDGETS)))
    lines += ["", *_gain_rows(evaluation.mix)]
    for name, family in evaluation.families.items():
        lines += ["", *_detail_rows(name, family)]
    lines += ["", f"temperature {evaluation.temperature}, {evaluation.seconds:.0f} s"]
    return "\n".join(lines)


def _row(label: str, cells: Iterable[str]) -> str:
    return f"{label:34}" + "".join(f"{cell:>23}" for cell in cells)


def _cells(estimates: Mapping[int, Estimate], budgets: Iterable[int]) -> list[str]:
    return [str(estimates[b]) if b in estimates else "" for b in budgets]


def _gain_rows(mix: FamilyFigures) -> list[str]:
    rows = ["countdown-mix, paired by problem"]
    rows += [_row(f"  gain up to {budget} tokens", [str(g)]) for budget, g in mix.gains.items()]
    return rows + [
        _row(f"  behind the oracle at {budget}", [str(gap)])
        for budget, gap in mix.oracle_gaps.items()
    ]


def _detail_rows(name: str, family: FamilyFigures) -> list[str]:
    mean, median = family.mean_thinking_tokens, family.median_thinking_tokens
    rows = [f"{name}: {mean:.0f} thinking tokens on average, median {median:.0f}"]
    return rows + [
        _row(f"  {figure}", [str(estimate), f"n={estimate.count}"])
        for figure, estimate in family.figures.items()
    ]
