"""`ponder bench budget`: what deciding how long to think is worth, against any fixed budget.

Whole requests go through a stack at its defaults; every other policy is computed from what the same
questions spend and answer at each budget, on the same engine with the same seeds.
"""

from __future__ import annotations

import importlib.resources
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ponder.cli.bench import bench_options
from ponder.figures import BenchReport
from workers.bench import budget_prompt_oracle
from workers.bench.budget_curves import Point, point, random_tiers, shuffled
from workers.bench.budget_figures import Curves, Measured, ponder_curve, with_intervals
from workers.bench.budget_outcomes import BUDGETS, LARGEST_BUDGET, measure_outcomes
from workers.bench.budget_plot import draw
from workers.bench.budget_prompt_oracle import Repeated, measure_repeated
from workers.bench.budget_served import Served, serve
from workers.bench.early_exit_figures import Record
from workers.bench.early_exit_run import Bench, Plan

_QUESTIONS = 2_000
_ORACLE_QUESTIONS, _ORACLE_SEEDS = 300, 8
_SEED = 2026
_HEADLINE = "worth 500"
_NO_LIMIT = "no limit"
_TABLE_WIDTH = 120
_TIER_BUDGETS = (50, 500, 2_000, 10_000)
# Of the table; the JSON has them all.
_LEFT_OUT = frozenset(
    f"fixed {b}{exits}" for b in BUDGETS for exits in ("", ", with exit") if b not in _TIER_BUDGETS
)


@dataclass(frozen=True, slots=True)
class _Size:
    """`oracle_questions` of them are thought about `oracle_seeds` times."""

    questions: int
    oracle_questions: int
    oracle_seeds: int


_QUICK = _Size(questions=24, oracle_questions=8, oracle_seeds=2)


@click.command()
@bench_options
@click.option(
    "--questions",
    "count",
    type=click.IntRange(min=500),
    default=_QUESTIONS,
    show_default=True,
    help="Of the test split, the whole mix.",
)
@click.option(
    "--oracle-questions",
    type=click.IntRange(min=100),
    default=_ORACLE_QUESTIONS,
    show_default=True,
    help=f"Think about so many of them {_ORACLE_SEEDS} times: what can a prompt tell at most?",
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw accuracy against mean tokens into this SVG file.",
)
def budget(
    json_path: str | None, quick: bool, count: int, oracle_questions: int, plot_path: Path | None
) -> None:
    """Accuracy at equal mean tokens: Ponder, every fixed budget, random tiers, two oracles."""
    torch.set_num_threads(1)
    size = _QUICK if quick else _Size(count, min(count, oracle_questions), _ORACLE_SEEDS)
    measured, same, repeated = _measure(size)
    report = _report(measured, same, repeated)
    if json_path != "-":
        _show(measured, report)
    if json_path:
        report.write_json(json_path)
    if plot_path:
        draw(measured, plot_path)
        click.echo(f"drew {plot_path}", err=True)


def _measure(size: _Size) -> tuple[Measured, float, Repeated]:
    """Everything, the share of served requests that thought as long as on the engine alone, and
    what some questions do with other seeds.
    """
    say = Console(stderr=True).print
    bench = _bench(size, 0)
    questions = bench.questions("test", size.questions)
    served = serve(questions)
    no_exit, _ = measure_outcomes(bench, questions, None, say)
    with_exit, whole = measure_outcomes(bench, questions, bench.ponder, say)
    right = [q.is_right(r.answer) for q, r in zip(questions, served.replies, strict=True)]
    measured = Measured(
        no_exit=no_exit,
        exit=with_exit,
        budgets=_budgets(served, size.questions),
        coverages={f"coverage {c:g}": found for c, found in served.by_coverage.items()},
        served_spent=np.array([_spent(reply.usage) for reply in served.replies]),
        served_right=np.array(right, dtype=np.float64),
    )
    again = questions[: size.oracle_questions]
    repeated = measure_repeated(with_exit, partial(_bench, size), again, size.oracle_seeds, say)
    return measured, _share_alike(served, whole), repeated


def _bench(size: _Size, run: int) -> Bench:
    directory = Path(str(importlib.resources.files("workers"))) / "reference"
    first_seed = run * size.questions
    return Bench(
        directory,
        Plan(
            problems=size.questions,
            seed=_SEED,
            first_sampling_seed=first_seed,
            budget_tokens=LARGEST_BUDGET,
        ),
    )


def _budgets(served: Served, count: int) -> dict[str, np.ndarray]:
    named = {f"worth {worth}": found for worth, found in served.by_worth.items()}
    return {**named, _NO_LIMIT: np.full(count, LARGEST_BUDGET)}


def _spent(usage: object) -> float:
    names = ("thinking_tokens", "probe_tokens", "forced_tokens")
    return float(sum(getattr(usage, name) for name in names))


def _share_alike(served: Served, whole: list[Record]) -> float:
    pairs = zip(served.replies, whole, strict=True)
    return float(np.mean([r.usage.thinking_tokens == w.thinking_tokens for r, w in pairs]))


def _report(measured: Measured, same: float, repeated: Repeated) -> BenchReport:
    figures, intervals = with_intervals(measured, _HEADLINE)
    budgets = measured.budgets[_HEADLINE][: repeated.num_questions]
    bounds, bound_intervals = budget_prompt_oracle.with_intervals(repeated, budgets)
    controls = {
        f"{name}_{field}": value
        for name, found in _rows(measured)
        for field, value in (("tokens", found.tokens), ("accuracy", found.accuracy))
    }
    return BenchReport(
        name="budget",
        figures={
            "questions": measured.num_questions,
            **figures,
            "served_like_engine_share": same,
            "repeated_questions": repeated.num_questions,
            "repeated_runs": repeated.num_seeds,
            **bounds,
        },
        intervals={**intervals, **bound_intervals},
        controls=controls,
    )


def _rows(measured: Measured) -> list[tuple[str, Point]]:
    """Every policy by name."""
    rows = measured.all_rows
    one_size = [(f"fixed {b}", np.full(len(rows), b)) for b in BUDGETS]
    ours = list(measured.budgets.items())
    return [
        *((name, point(measured.no_exit, found, rows)) for name, found in one_size),
        *((f"{name}, with exit", point(measured.exit, found, rows)) for name, found in one_size),
        *((f"ponder, {name}", point(measured.exit, found, rows)) for name, found in ours),
        *((f"shuffled, {n}", point(measured.exit, shuffled(b), rows)) for n, b in ours[:-1]),
        *((f"random, {n}", point(measured.exit, random_tiers(b), rows)) for n, b in ours[:-1]),
        *((name, point(measured.exit, b, rows)) for name, b in measured.coverages.items()),
        ("served", Point(measured.served_spent.mean(), measured.served_right.mean())),
    ]


def _show(measured: Measured, report: BenchReport) -> None:
    console = Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH)
    console.print(_policies_table(measured, report.device))
    table = Table(title=f"At {_HEADLINE}, and served at the defaults; 95 % intervals")
    for column in ("figure", "value", "interval"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in report.figures.items():
        low, high = report.intervals.get(name, (float("nan"), float("nan")))
        table.add_row(name, f"{value:.4g}", "" if np.isnan(low) else f"{low:.3g} to {high:.3g}")
    console.print(table)


def _policies_table(measured: Measured, device: str) -> Table:
    curves = Curves.of(measured, measured.all_rows)
    table = Table(
        title=f"{measured.num_questions} questions, {device}",
        caption="Tokens: thinking, trials and forced ones. Over: points above the best mixture of "
        "fixed budgets with the same mean tokens. Oracle: what it reaches with them, with exits.",
    )
    table.add_column("policy", no_wrap=True)
    for column in ("tokens", "right", "over fixed", "over fixed with exit", "oracle"):
        table.add_column(column, justify="right")
    for name, found in _rows(measured):
        if name in _LEFT_OUT:
            continue
        over = [c.accuracy_at(found.tokens) for c in (curves.fixed, curves.fixed_with_exit)]
        table.add_row(
            name,
            f"{found.tokens:.0f}",
            f"{found.accuracy:.1%}",
            *(f"{100 * (found.accuracy - control):+.1f}" for control in over),
            f"{curves.oracle_with_exit.accuracy_at(found.tokens):.1%}",
        )
    always = measured.no_exit.spent[:, -1].mean()
    saved = 1.0 - ponder_curve(measured, measured.all_rows).tokens[-1] / always
    table.add_section()
    table.add_row("saved without a limit", f"{saved:.1%}", "", "", "", "")
    return table
