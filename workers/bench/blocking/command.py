"""`ponder bench blocking`: does an easy request wait for a hard one?

The scheduler of the workers and the router's policy, admission and choice of workers run as they
are, in simulated time; needs and predictions are those of real requests. Every policy gets the same
jobs. And at small scale all of it runs in real processes, beside one queue.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from classifier.errors import DatasetError
from ponder.cli.bench import bench_options
from ponder.figures import BenchReport
from workers.bench.blocking import scenario
from workers.bench.blocking.figures import Results, Run, Scale, headline, mean_result, plan_runs
from workers.bench.blocking.jobs import Mix, Outcomes, read_gaps
from workers.bench.blocking.outcomes import read_outcomes, think_outcomes, two_classes
from workers.bench.blocking.plot import draw
from workers.bench.blocking.processes import course
from workers.bench.blocking.processes.report import Report
from workers.bench.blocking.scenario import Result
from workers.bench.blocking.service import StepModel

_LOAD: Final = 0.85
_WHOLE = Scale(jobs=4_000, seeds=3, large_jobs=120_000)
_QUICK = Scale(jobs=400, seeds=1, large_jobs=0, is_whole=False)
_PROMPTS, _QUICK_PROMPTS = 600, 40
_HEADLINES = {"": "ponder", "uncapped_": "ponder_uncapped", "open_": "ponder_open"}
_TABLE_WIDTH = 150
_PROCESSES = "processes"


@click.command()
@bench_options
@click.option(
    "--traces",
    "traces_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON lines of workers.training.collect.  [default: the reference model thinks anew]",
)
@click.option(
    "--arrivals",
    "arrivals_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with arrivals in t_s or TIMESTAMP: the same mix at its gaps, too.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="BEGINNING",
    help="Only the scenarios whose names begin so, such as real, deadline or processes; may be "
    "repeated.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=10),
    help="Jobs of each simulation but the large one.  [default: 4000]",
)
@click.option(
    "--processes", default=2, show_default=True, type=click.IntRange(min=1), help="Runs at once."
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw slowdown against load into this SVG file.",
)
def blocking(
    json_path: str | None,
    quick: bool,
    traces_path: Path | None,
    arrivals_path: Path | None,
    only: tuple[str, ...],
    jobs: int | None,
    processes: int,
    plot_path: Path | None,
) -> None:
    """Easy requests beside hard ones: slowdown by load, against five other ways to queue."""
    results: Results = {}
    served = None
    if _runs_processes(only):
        served = Report.of(course.take(course.QUICK if quick else course.Plan()))
    if not only or not all(map(_PROCESSES.startswith, only)):
        scale = _QUICK if quick else _WHOLE
        scale = scale if jobs is None else replace(scale, jobs=jobs)
        results = _simulate(traces_path, arrivals_path, only, processes, scale)
    report = _report(results, served)
    if json_path != "-":
        _show(results, served, report)
    if json_path:
        report.write_json(json_path)
    if plot_path:
        draw(results, plot_path)
        click.echo(f"drew {plot_path}", err=True)


def _runs_processes(only: tuple[str, ...]) -> bool:
    return not only or _PROCESSES.startswith(only)


def _simulate(
    traces_path: Path | None,
    arrivals_path: Path | None,
    only: tuple[str, ...],
    processes: int,
    scale: Scale,
) -> Results:
    try:
        workloads = _workloads(traces_path, arrivals_path, scale)
    except (DatasetError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    runs = list(plan_runs(workloads, StepModel.roofline(), scale))
    runs = [run for run in runs if not only or run.scenario.startswith(only)]
    if not runs:
        raise click.UsageError(f"--only: no scenario begins with {' or '.join(only)}")
    return _run_all(runs, processes)


def _workloads(
    traces_path: Path | None, arrivals_path: Path | None, scale: Scale
) -> Mapping[str, tuple[Outcomes, Mix]]:
    if traces_path is not None:
        outcomes = read_outcomes(traces_path)
    else:
        click.echo("the reference model thinks", err=True)
        outcomes = think_outcomes(_PROMPTS if scale.is_whole else _QUICK_PROMPTS)
    found = {"real": (outcomes, Mix(_LOAD)), "two_class": (two_classes(), Mix(_LOAD))}
    if arrivals_path is not None:
        found["trace"] = (outcomes, Mix(_LOAD, gaps=read_gaps(arrivals_path)))
    return found


def _run_all(runs: Sequence[Run], processes: int) -> Results:
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    # Forked ones would inherit threads that torch has begun.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    with pool, Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=len(runs))
        for run, outcome in zip(runs, pool.map(_run, runs), strict=True):
            found[run.scenario, run.policy].append(outcome)
            progress.advance(task)
    return found


def _run(run: Run) -> Result:
    return scenario.run(run.policy, run.setting)


def _report(results: Results, served: Report | None) -> BenchReport:
    named = {
        f"{prefix}{name}": found
        for prefix, policy in _HEADLINES.items()
        for name, found in headline(results, policy).items()
    }
    figures = {name: mean for name, (mean, _, _) in named.items()}
    intervals = {name: (low, high) for name, (_, low, high) in named.items()}
    return BenchReport(
        name="blocking",
        figures={**figures, **(served.figures if served else {})},
        intervals={**intervals, **(served.intervals if served else {})},
        controls={
            **(served.controls if served else {}),
            **{
                f"{name}_{policy}_{field.name}": getattr(mean_result(runs), field.name)
                for (name, policy), runs in results.items()
                for field in fields(Result)
            },
        },
    )


def _show(results: Results, served: Report | None, report: BenchReport) -> None:
    console = Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH)
    if results:
        _show_simulated(console, results, report)
    if served:
        console.print(served.table)


def _show_simulated(console: Console, results: Results, report: BenchReport) -> None:
    table = Table(title=f"16 slots unless large, simulated; {report.device}")
    table.add_column("scenario", no_wrap=True)
    table.add_column("policy", no_wrap=True)
    for field in fields(Result):
        table.add_column(field.name.replace("_", " "), justify="right")
    last = ""
    for (name, policy), runs in results.items():
        if name != last:
            table.add_section()
        found = mean_result(runs)
        values = (f"{getattr(found, field.name):.3g}" for field in fields(Result))
        table.add_row(name if name != last else "", policy, *values)
        last = name
    console.print(table)
    figures = Table(title="Means, lowest and highest of the seeds")
    for column in ("figure", "mean", "lowest", "highest"):
        figures.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in report.figures.items():
        if name.startswith(_PROCESSES):
            continue
        interval = [f"{bound:.3g}" for bound in report.intervals.get(name, ())]
        figures.add_row(name, f"{value:.3g}", *interval)
    console.print(figures)
