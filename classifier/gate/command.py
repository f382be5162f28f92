"""`ponder classifier gate`: may a new classifier replace the one that serves?"""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from classifier.errors import ClassifierError, DatasetError
from classifier.gate.contenders import Contenders
from classifier.gate.contest import FEWEST_ROWS, GateOptions
from classifier.gate.judge import judge
from classifier.gate.reading import read_logged, read_logged_ledger
from classifier.gate.report import GateReport
from classifier.gate.rows import LoggedOutcome, LoggedRows
from ponder.cli.output import print_json
from ponder.cli.traces import REDIS_VARIABLES, run_with_ledger
from ponder.ledger import Ledger
from ponder.rollout import RolloutError

_PIPE_WIDTH = 160
_DEFAULTS = GateOptions()
_COLOURS = {"passed": "green", "refused": "red", "not judged": "yellow"}

_EPILOG = """\b
Examples:
  ponder classifier gate 3f2a --traces traces           a version in the store: it keeps the report
  ponder classifier gate new.onnx --traces traces
  ponder classifier gate new.onnx --redis unix:///run/redis.sock --model ponder-reference --json
  ponder classifier gate new.onnx --traces traces --champion old.onnx --report verdict.md
  ponder classifier gate new.onnx --traces traces --ood foreign.jsonl

\b
Judged by requests that neither classifier learned from: of the latest quarter of the traces those
in split test, a quarter of the prompts, which training never reads. Checks:
  file, parity    loads; survival and tier follow from the hazards (that the graph computes what
                  scikit-learn computed is checked when it is trained)
  ranking         Kendall's tau not below the champion's by 0.01 and more
  controls        a constant and predictions dealt out at random must fail the ranking
  sharpness       log-loss not above the champion's
  coverage        the 90 % bound holds as often as predicted: to 2 points, 5 in a slice
  calibration     error of P(need > budget) at most 0.03 in every tier
  latency         p99 processor time of a prediction at most a tenth, or 0.05 ms, above
  value           decisions worth no less, estimated from the logs (doubly robust) with at
                  least 1,000 effective rows
  out of domain   log-loss not above the champion's on prompts of other kinds
Differences count with their 95 % bootstrap interval over prompts. Exit status: 0 passed,
1 refused, or nothing could be judged.
"""


@click.command(epilog=_EPILOG)
@click.argument("candidate")
@click.option(
    "--traces",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="JSON lines, or what `ponder traces export` wrote. May be given again.",
)
@click.option(
    "--redis",
    "--redis-url",
    "redis_url",
    metavar="URL",
    envvar=REDIS_VARIABLES,
    show_envvar=True,
    help="The store, and the ledger's traces where no --traces are given.",
)
@click.option(
    "--champion",
    type=click.Path(path_type=Path),
    help="The classifier that serves.  [default: that of the store; the shipped one where the "
    "store has none, or no --redis is given]",
)
@click.option("--model", help="Traces of this model.  [default: the champion's]")
@click.option(
    "--ood",
    "foreign_paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Traces of prompts of other kinds.  [default: the strangest tenth of those that judge]",
)
@click.option("--since", type=click.DateTime(), help="Only what ended since this local time.")
@click.option(
    "--min-rows",
    default=_DEFAULTS.min_rows,
    show_default=True,
    type=click.IntRange(FEWEST_ROWS),
    help="Requests that must be there to judge.",
)
@click.option(
    "--latest-share",
    default=_DEFAULTS.latest_share,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the traces, the latest, from which those that judge are taken.",
)
@click.option(
    "--tier-budgets",
    default=",".join(map(str, _DEFAULTS.budgets)),
    show_default=True,
    help="ROUTER_TIER_BUDGETS of the time of the traces.",
)
@click.option(
    "--step-price",
    default=round(_DEFAULTS.step_price, 6),
    show_default=True,
    type=click.FloatRange(0, 1),
    help="What deciding one tier higher costs, in escalations; the default is the policy's trade.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.md",
    help="Write the verdict as Markdown too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def gate(
    candidate: str,
    paths: tuple[Path, ...],
    redis_url: str | None,
    champion: Path | None,
    model: str | None,
    foreign_paths: tuple[Path, ...],
    since: datetime | None,
    min_rows: int,
    latest_share: float,
    tier_budgets: str,
    step_price: float,
    report_path: Path | None,
    as_json: bool,
) -> None:
    """Judge whether CANDIDATE may replace the classifier that serves.

    CANDIDATE is an ONNX file, or the version of one in the store, or its first digits: then the
    report is kept with it, and `ponder classifier promote` finds it there.
    """
    try:
        options = GateOptions(
            min_rows=min_rows,
            latest_share=latest_share,
            budgets=_budgets(tier_budgets),
            step_price=step_price,
        )
        with TemporaryDirectory(prefix="ponder-gate-") as directory:
            found = Contenders.find(candidate, champion, redis_url, model, Path(directory))
            rows = _rows(paths, redis_url, found.model, since)
            report = judge(
                found.candidate,
                found.champion,
                rows,
                model=found.model,
                foreign=_foreign(foreign_paths, found.model),
                options=options,
                progress=_say,
            )
    except (ClassifierError, DatasetError, RolloutError) as error:
        raise click.ClickException(str(error)) from error
    found.keep(report, redis_url)
    _show(report, report_path, as_json=as_json)
    sys.exit(0 if report.passed else 1)


def _budgets(text: str) -> tuple[int, ...]:
    try:
        budgets = tuple(int(part) for part in text.split(","))
        GateOptions(budgets=budgets)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--tier-budgets") from error
    return budgets


def _rows(
    paths: Sequence[Path],
    redis_url: str | None,
    model: str,
    since: datetime | None,
) -> LoggedRows:
    """Raises DatasetError, click.ClickException."""
    if paths:
        logged = list(_read_files(paths, model))
    else:
        logged = run_with_ledger(redis_url, lambda ledger: _read_ledger(ledger, model))
    since_s = since.timestamp() if since else float("-inf")
    recent = [row for row in logged if row.finished_at_s >= since_s]
    if not recent:
        raise DatasetError(f"no usable traces of {model}: check --model and --since")
    return LoggedRows.of(recent)


def _foreign(paths: Sequence[Path], model: str) -> LoggedRows | None:
    """Raises DatasetError."""
    if not paths:
        return None
    logged = list(_read_files(paths, model))
    if not logged:
        raise DatasetError(f"--ood: no usable traces of {model} in it")
    return LoggedRows.of(logged)


def _read_files(paths: Sequence[Path], model: str) -> Iterator[LoggedOutcome]:
    for path in paths:
        rows = read_logged(path, model)
        yield from tqdm(rows, desc=path.name, unit=" traces", disable=None)


async def _read_ledger(ledger: Ledger, model: str) -> list[LoggedOutcome]:
    progress = tqdm(desc=model, unit=" traces", disable=None)
    logged = []
    async for row in read_logged_ledger(ledger, model):
        logged.append(row)
        progress.update()
    progress.close()
    return logged


def _show(report: GateReport, path: Path | None, *, as_json: bool) -> None:
    if path is not None:
        try:
            path.write_text(report.to_markdown(), encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"--report {path}: {error.strerror}") from error
    if as_json:
        print_json(report.as_dict())
        return
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    console.print(_table(report))
    for line in report.remedies():
        console.print(line, markup=False)
    console.print("passed" if report.passed else "refused")


def _table(report: GateReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("check", "candidate", "champion", "limit", "verdict"):
        table.add_column(column)
    for check in report.checks:
        *cells, verdict = check.cells()
        colour = _COLOURS[verdict]
        table.add_row(*cells, f"[{colour}]{verdict}[/{colour}]")
    return table


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
