"""`ponder bench early-exit`: what early exit saves, what it costs, and what others' rules would.

Every subject answers the same test questions in the same engine; savings are net of everything
that was computed for trials.
"""

import importlib.resources
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from ponder.cli.bench import bench_options
from ponder.figures import BenchReport
from workers.bench.early_exit_figures import (
    EASY_THINKING_TOKENS,
    SubjectFigures,
    counted,
    named_estimates,
)
from workers.bench.early_exit_plot import draw
from workers.bench.early_exit_run import Bench, Measured, Plan, measure
from workers.bench.early_exit_speed import (
    LatencyFigures,
    Saturation,
    measure_latency,
    measure_throughput,
    throughput_figures,
)
from workers.training.evaluation import Estimate

_TABLE_WIDTH = 120
_QUICK = Plan(
    problems=8,
    validation_problems=2,
    latency_problems=2,
    throughput_problems=6,
    concurrency=3,
    budget_tokens=250,
)

_COST_CAPTION = (
    "Probes and forced are shares of the thinking without exits. Changed: answered without an "
    "exit, and not as without early exit."
)


@click.command("early-exit")
@bench_options
@click.option(
    "--problems",
    type=click.IntRange(min=500),
    default=600,
    show_default=True,
    help="Of the test split.",
)
@click.option(
    "--model",
    "model_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Hugging Face directory.  [default: the shipped reference model]",
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw accuracy against net saving into this SVG file.",
)
def early_exit(
    json_path: str | None,
    quick: bool,
    problems: int,
    model_dir: Path | None,
    plot_path: Path | None,
) -> None:
    """Thinking saved by early exit, net of its cost, beside a fixed cut and published rules."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    bench = Bench(_directory(model_dir), _QUICK if quick else Plan(problems=problems))
    measured = measure(bench, console.print)
    report = bench_report(
        measured.subjects,
        measure_latency(bench, console.print),
        measure_throughput(bench, console.print),
    )
    if json_path != "-":
        _show(measured, report)
    if json_path:
        report.write_json(json_path)
    if plot_path:
        draw(measured.subjects, plot_path)
        click.echo(f"drew {plot_path}", err=True)


def bench_report(
    subjects: Mapping[str, SubjectFigures],
    latency: LatencyFigures,
    work: Mapping[str, Saturation],
) -> BenchReport:
    """The benchmark's figures; those of other rules and of the engine alone are controls."""
    throughput, throughput_controls = throughput_figures(work)
    estimates = {name: e for name, e in named_estimates(subjects) if e.count}
    return BenchReport(
        name="early-exit",
        figures={
            **{name: estimate.value for name, estimate in estimates.items()},
            **counted(subjects),
            **_defined(latency.figures),
            **throughput,
        },
        intervals={name: (e.low, e.high) for name, e in estimates.items()},
        controls={**_defined(latency.controls), **throughput_controls},
    )


def _defined(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def _directory(model_dir: Path | None) -> Path:
    directory = model_dir or Path(str(importlib.resources.files("workers"))) / "reference"
    if not (directory / "config.json").exists():
        raise click.ClickException(f"{directory} holds no model: name one with --model")
    return directory


def _show(measured: Measured, report: BenchReport) -> None:
    console = Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH)
    subjects = measured.subjects.values()
    console.print(_saving_table(subjects, report.device, _caption(measured)))
    console.print(_cost_table(subjects))
    console.print(_speed_table(report))


def _saving_table(subjects: Iterable[SubjectFigures], device: str, caption: str) -> Table:
    table = Table(title=f"Early exit, {device}", caption=caption)
    table.add_column("subject", no_wrap=True)
    for column in ("right", "change, points", "thinking", "gross saved", "net saved"):
        table.add_column(column, justify="right")
    table.add_column(f"net saved, up to {EASY_THINKING_TOKENS}", justify="right")
    for subject in subjects:
        table.add_row(
            subject.name,
            f"{subject.accuracy.value:.1%}",
            _with_interval(subject.accuracy_change, "{:+.1f}"),
            f"{subject.mean_thinking_tokens:.0f}",
            f"{subject.savings.gross.value:.1%}",
            _with_interval(subject.savings.net, "{:.1%}"),
            _with_interval(subject.easy.net, "{:.1%}"),
        )
    return table


def _cost_table(subjects: Iterable[SubjectFigures]) -> Table:
    table = Table(title="What it cost, and what must be 0", caption=_COST_CAPTION)
    table.add_column("subject", no_wrap=True)
    for column in ("probes", "forced", "exits", "overshot", "empty", "changed"):
        table.add_column(column, justify="right")
    for subject in subjects:
        table.add_row(
            subject.name,
            f"{subject.savings.probe.value:.1%}",
            f"{subject.savings.forced.value:.1%}",
            str(subject.exits),
            str(subject.overshoots),
            str(subject.empty_answers),
            str(subject.changed),
        )
    return table


def _with_interval(estimate: Estimate, form: str) -> str:
    # Adding 0 turns what rounds to -0.0 into 0.0.
    rounded = (round(x, 4) + 0.0 for x in (estimate.value, estimate.low, estimate.high))
    value, low, high = map(form.format, rounded)
    return f"{value}\n{low} to {high}"


def _caption(measured: Measured) -> str:
    settings = "; ".join(f"{name}: {label}" for name, label in measured.settings.items())
    baseline = next(iter(measured.subjects.values()))
    return (
        f"{baseline.problems} test questions, {baseline.easy_problems} of them with at most "
        f"{EASY_THINKING_TOKENS} thinking tokens; 95 % intervals, paired by question. "
        f"Saved are shares of the thinking without exits. ponder: "
        f"{measured.rules_origin}. Each of the other rules has the setting that saved most on the "
        f"validation split with at most half a point lost; where none did, that which lost least. "
        f"{settings}."
    )


def _speed_table(report: BenchReport) -> Table:
    table = Table(title="Speed, by processor time", caption="ponder beside no exit")
    table.add_column("figure")
    table.add_column("value", justify="right")
    named = ("latency_over_saving", "throughput_ratio")
    figures = {name: report.figures[name] for name in named if name in report.figures}
    for name, value in {**figures, **report.controls}.items():
        table.add_row(name, f"{value:.4g}")
    return table
