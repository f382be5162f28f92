"""`ponder bench thinking`: does thinking pay? The reference model's accuracy by thinking budget.

Measures with workers.training.evaluate, in this process; or reads what that wrote. The figures
are those of the mix of Countdown problems with 4 to 6 numbers.
"""

import importlib.resources
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ponder.cli.bench import bench_options
from ponder.figures import BenchReport
from workers.training.evaluate import QUICK_PROBLEMS, EvaluationConfig, evaluate
from workers.training.evaluation import Estimate, Evaluation
from workers.training.evaluator import TIER_BUDGETS
from workers.training.plot import draw
from workers.training.targets import largest_oracle_gap

_NAMED_AS_MEASURED = (
    "step_accuracy",
    "false_hits",
    "answer_auroc",
    "answer_ece",
    "well_formed_when_cut",
    "overthinking_share",
)


@click.command()
@bench_options
@click.option("--problems", default=500, show_default=True, help="Of each kind.")
@click.option(
    "--model",
    "model_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Hugging Face directory.  [default: the shipped reference model]",
)
@click.option(
    "--evaluation",
    "evaluation_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the figures that `workers.training.evaluate --json` wrote, measure nothing.",
)
@click.option(
    "--plot",
    "plot_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Draw thinking.svg and thinking.png into this directory.",
)
def thinking(
    json_path: str | None,
    quick: bool,
    problems: int,
    model_dir: Path | None,
    evaluation_path: Path | None,
    plot_dir: Path | None,
) -> None:
    """Accuracy against thinking budget, beside an oracle: does thinking pay?"""
    if evaluation_path:
        evaluation = Evaluation.read(evaluation_path)
    else:
        evaluation = _measure(model_dir, QUICK_PROBLEMS if quick else problems)
    report = bench_report(evaluation)
    if json_path != "-":
        Console().print(_table(report))
    if json_path:
        report.write_json(json_path)
    for path in draw(evaluation, plot_dir) if plot_dir else ():
        click.echo(f"drew {path}", err=True)


def _measure(model_dir: Path | None, problems: int) -> Evaluation:
    directory = model_dir or Path(str(importlib.resources.files("workers"))) / "reference"
    if not (directory / "config.json").exists():
        raise click.ClickException(f"{directory} holds no model: name one with --model")
    progress = Console(stderr=True)
    config = EvaluationConfig(problems=problems)
    return evaluate(directory, config, lambda family: progress.print(f"{family} done"))


def bench_report(evaluation: Evaluation) -> BenchReport:
    """The benchmark's figures; those that are not defined for want of trials are left out."""
    estimates = _estimates(evaluation)
    return BenchReport(
        name="thinking",
        figures={name: estimate.value for name, estimate in estimates.items()},
        intervals={name: (e.low, e.high) for name, e in estimates.items()},
        controls={f"oracle_{b}": evaluation.mix.oracle[b].value for b in TIER_BUDGETS},
        device=evaluation.device,
    )


def _estimates(evaluation: Evaluation) -> dict[str, Estimate]:
    mix = evaluation.mix
    gap = largest_oracle_gap(evaluation)
    return {
        **{f"accuracy_{budget}": mix.accuracy[budget] for budget in TIER_BUDGETS},
        "accuracy_500_minus_50": mix.gains[500],
        "accuracy_2000_minus_500": mix.gains[2000],
        "oracle_gap_points": Estimate(100 * gap.value, 100 * gap.low, 100 * gap.high, gap.count),
        **{name: mix.figures[name] for name in _NAMED_AS_MEASURED if name in mix.figures},
    }


def _table(report: BenchReport) -> Table:
    table = Table(title=f"Countdown with 4 to 6 numbers, {report.device}")
    for column in ("figure", "value", "95 % interval", "oracle"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in report.figures.items():
        low, high = report.intervals[name]
        oracle = report.controls.get(name.replace("accuracy", "oracle"))
        beside = "" if oracle is None else f"{oracle:.3f}"
        table.add_row(name, f"{value:.3f}", f"{low:.3f} to {high:.3f}", beside)
    return table
