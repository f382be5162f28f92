"""`ponder bench online`: how soon coverage is back when one tenant's needs double.

10,000 requests of a tenant, then its needs double; another tenant goes on as before. Everything
that learns is real (the ledger's script on a Redis, the router's predictions and policy, read anew
every 20 requests); only needs and the classifier are drawn, see simulated_tenant.py. The controls
see the same requests: one without the correction of coverage, one without the counts as well.
"""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ponder.cli.bench import bench_options
from ponder.embedded_redis import EmbeddedRedis
from ponder.figures import BenchReport
from router.bench.online_course import AFTER, VARIANTS, Course, poison_costs, run_course
from router.bench.simulated_tenant import COVERAGE

_HISTORY, _QUICK_HISTORY = 10_000, 1_000
_RUNS, _QUICK_RUNS = 3, 1
_PHASES: Final[Mapping[str, tuple[int, int]]] = {
    "before": (-500, 0),
    "1_250": (0, 250),
    "251_500": (250, 500),
    "501_1000": (500, 1_000),
    "1001_1500": (1_000, AFTER),
}
_CONTROLS: Final = ("counts_only", "nothing")
_ROWS: Final = {
    "last 500 before": "coverage_before",
    "requests 1 to 250 after": "coverage_1_250",
    "251 to 500": "coverage_251_500",
    "501 to 1,000": "coverage_501_1000",
    "1,001 to 1,500": "coverage_1001_1500",
    "the other tenant before": "steady_coverage_before",
    "the other tenant after": "steady_coverage_after",
}
_LABELS: Final = {
    "corrected": "counts and correction",
    "counts_only": "control: counts only",
    "nothing": "control: neither",
}


@click.command()
@bench_options
def online(json_path: str | None, quick: bool) -> None:
    """Coverage after one tenant's needs double."""
    history, num_runs = (_QUICK_HISTORY, _QUICK_RUNS) if quick else (_HISTORY, _RUNS)
    with (
        tempfile.TemporaryDirectory(prefix="ponder-bench-") as folder,
        EmbeddedRedis(Path(folder)) as server,
    ):
        courses, poisoned = asyncio.run(_measure(server.url, history, num_runs))
    figures = {**_figures(courses["corrected"]), **poisoned, "history": history, "runs": num_runs}
    controls: dict[str, float] = {}
    for name in _CONTROLS:
        controls |= {f"{name}_{key}": value for key, value in _figures(courses[name]).items()}
    report = BenchReport(name="online", figures=figures, controls=controls)
    if json_path != "-":
        Console().print(_table(report))
        Console().print(_poison_line(report.figures))
    if json_path:
        report.write_json(json_path)


async def _measure(
    url: str, history: int, num_runs: int
) -> tuple[dict[str, list[Course]], dict[str, float]]:
    courses: dict[str, list[Course]] = {variant.name: [] for variant in VARIANTS}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        total = len(VARIANTS) * num_runs * (history + AFTER)
        task = progress.add_task("deciding", total=total)
        for variant in VARIANTS:
            for run in range(num_runs):
                course = await run_course(
                    url, variant, run, history, lambda: progress.advance(task)
                )
                courses[variant.name].append(course)
    return courses, await poison_costs(url, history)


def _figures(courses: Sequence[Course]) -> dict[str, float]:
    """Shares, over all runs; of the tenant whose needs double unless they say steady."""
    figures: dict[str, float] = {}
    for name, (start, end) in _PHASES.items():
        phase = [one for c in courses for one in c.doubled[c.history + start : c.history + end]]
        figures |= {
            f"coverage_{name}": _share([one.covered for one in phase]),
            f"promised_{name}": _share([one.promised for one in phase]),
            f"budget_tokens_{name}": round(float(np.mean([one.budget_tokens for one in phase])), 1),
            f"used_tokens_{name}": round(float(np.mean([one.used_tokens for one in phase])), 1),
        }
    num_after = len(courses[0].steady) * AFTER // len(courses[0].doubled)
    for name, part in (
        ("before", slice(-3 * num_after, -num_after)),
        ("after", slice(-num_after, None)),
    ):
        covered = [one.covered for course in courses for one in course.steady[part]]
        figures[f"steady_coverage_{name}"] = _share(covered)
    return figures


def _share(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _table(report: BenchReport) -> Table:
    history, runs = report.figures["history"], report.figures["runs"]
    table = Table(
        title=f"Share of first budgets that suffice, {COVERAGE:.0%} asked for; needs double after "
        f"{history:,.0f} requests, {runs:.0f} runs"
    )
    for column in ("", *_LABELS.values()):
        table.add_column(column, justify="right" if column else "left")
    sources = [(report.figures, ""), *((report.controls, f"{name}_") for name in _CONTROLS)]
    for label, key in _ROWS.items():
        cells = (f"{source[f'{prefix}{key}']:.3f}" for source, prefix in sources)
        table.add_row(label, *cells)
    return table


def _poison_line(figures: Mapping[str, float]) -> str:
    return (
        f"A poisoned correction: first budgets of {figures['poison_least_budget_tokens']:,.0f} to "
        f"{figures['poison_worst_budget_tokens']:,.0f} tokens in the mean instead of "
        f"{figures['poison_none_budget_tokens']:,.0f}; another tenant's moved by "
        f"{figures['poison_others_moved_tokens']:,.0f}."
    )
