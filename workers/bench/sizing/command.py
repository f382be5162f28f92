"""`ponder size`: the command."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

from classifier.errors import DatasetError
from classifier.readers import models_in
from ponder.cli.output import print_json
from ponder.cli.traces import models_to_read, redis_option, run_with_ledger
from ponder.ledger import Ledger
from workers.bench.blocking.service import StepModel
from workers.bench.sizing.past import Past, past_of_ledger, read_past
from workers.bench.sizing.search import Candidate, Demand, Search, Targets, Worker

_PIPE_WIDTH: Final = 120
_MODEL: Final = StepModel.roofline()

_EPILOG = """\b
Examples:
  ponder size --traces traces --rate 40          from what `ponder traces export` wrote
  ponder size --redis-url URL                    from the live ledger, at its busiest ten minutes
  ponder size --traces traces --rate 40 --slots 32 --step-ms 12 --row-ms 0.1
  ponder size --traces traces --rate 40 --json | jq .workers

\b
The traces say what requests think, answer and were predicted to need. They are drawn at random,
arrive at random, and are served by the router's policy and the workers' scheduler as they are, in
simulated time. The fewest workers win with which
  easy p99   99 % of the easy requests (up to 500 thinking tokens) take at most --easy-p99 times as
             long as alone on an idle worker
  load       at most --load of the capacity is used
  refused    at most 0.5 % are refused, and 0.5 % cut short, for the load

\b
Time a step of your model for --step-ms (a batch of one) and --row-ms (each further row), with
`ponder bench decode` or by your engine's own benchmark. The defaults are a calculation: 8 billion
parameters in bfloat16 on an H100, without what the host adds. Memory is taken as enough for all
slots. Real arrivals come in waves: size for the busiest minutes, and keep a worker to spare.
"""


@click.command(epilog=_EPILOG)
@redis_option
@click.option(
    "--traces",
    "path",
    type=click.Path(exists=True, path_type=Path),
    help="Parquet folder or JSON lines, instead of the ledger.",
)
@click.option("--model", help="Of this model's traces.  [default: the only one]")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="PER_S",
    help="Requests a second.  [default: that of the busiest ten minutes]",
)
@click.option(
    "--easy-p99",
    type=click.FloatRange(1),
    default=3.0,
    show_default=True,
    metavar="TIMES",
    help="Largest slowdown of 99 % of the easy requests.",
)
@click.option(
    "--load",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.85,
    show_default=True,
    help="Largest share of the capacity that is used.",
)
@click.option(
    "--slots",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Requests that one worker runs at once: WORKER_MAX_RUNNING.",
)
@click.option(
    "--step-ms",
    type=click.FloatRange(0, min_open=True),
    default=_MODEL.base_s * 1e3,
    show_default=True,
    help="Step of a batch of one.",
)
@click.option(
    "--row-ms",
    type=click.FloatRange(0),
    default=_MODEL.row_s * 1e3,
    show_default=True,
    help="More for each further request in the batch.",
)
@click.option(
    "--prefill-ms",
    type=click.FloatRange(0),
    default=_MODEL.prefill_s * 1e3,
    show_default=True,
    help="For each token of a prompt.",
)
@click.option(
    "--jobs",
    "num_jobs",
    type=click.IntRange(100),
    default=2_000,
    show_default=True,
    help="Requests to simulate: more are surer, and take longer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def size(
    redis_url: str | None,
    path: Path | None,
    model: str | None,
    rate: float | None,
    easy_p99: float,
    load: float,
    slots: int,
    step_ms: float,
    row_ms: float,
    prefill_ms: float,
    num_jobs: int,
    as_json: bool,
) -> None:
    """How many workers of each pool this mix of requests needs, found by simulating it.

    Exit status 1: no number of workers that was tried keeps the targets.
    """
    past = _read(path, redis_url, model)
    step = StepModel(base_s=step_ms / 1e3, row_s=row_ms / 1e3, prefill_s=prefill_ms / 1e3)
    search = Search(
        Demand(past=past, rate=rate or past.busiest_rate, num_jobs=num_jobs),
        Worker(slots=slots, model=step),
        Targets(easy_p99_slowdown=easy_p99, load=load),
        report=lambda tried: click.echo(f"tried {_in_words(tried)}", err=True),
    )
    found = search.find()
    if as_json:
        print_json(_document(search, found))
    else:
        _show(search, found)
    if found is None:
        sys.exit(1)


def _read(path: Path | None, redis_url: str | None, model: str | None) -> Past:
    async def read(ledger: Ledger) -> Past:
        return await past_of_ledger(ledger, _only(await models_to_read(ledger, model)))

    try:
        if path is None:
            return run_with_ledger(redis_url, read)
        return read_past(path, model or _only(models_in([path])))
    except DatasetError as error:
        raise click.ClickException(str(error)) from error


def _only(models: list[str]) -> str:
    if len(models) != 1:
        raise click.ClickException(f"traces of several models, name one: {', '.join(models)}")
    return models[0]


def _in_words(tried: Candidate) -> str:
    verdict = "enough" if tried.keeps else "too few"
    return f"{tried.easy} easy and {tried.thinking} thinking workers: {verdict}"


def _document(search: Search, found: Candidate | None) -> dict[str, Any]:
    demand, worker = search.demand, search.worker
    return {
        "workers": {"easy": found.easy, "thinking": found.thinking} if found else None,
        "rate_per_s": demand.rate,
        "num_traces": len(demand.past.outcomes.need_tokens),
        "num_jobs": demand.num_jobs,
        "targets": asdict(search.targets),
        "worker": {"slots": worker.slots, **asdict(worker.model)},
        "tried": [_row(candidate) for candidate in search.tried],
    }


def _row(candidate: Candidate) -> dict[str, Any]:
    """JSON has no NaN: what could not be measured is null."""
    figures = asdict(candidate)
    figures |= {
        name: None if math.isnan(value) else value for name, value in figures.pop("result").items()
    }
    return figures


def _show(search: Search, found: Candidate | None) -> None:
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    demand = search.demand
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{demand.rate:.3g} requests a second, like {len(demand.past.outcomes.need_tokens)} "
        f"traces; {search.worker.slots} slots a worker; simulated",
        title_justify="left",
        title_style="",
    )
    headings = ("easy", "thinking", "load", "easy p50", "easy p99", "hard p99", "refused", "cut")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for tried in sorted(search.tried, key=lambda one: (one.easy + one.thinking, one.easy)):
        table.add_row(*_cells(tried), "<- take these" if tried is found else "")
    console.print(table)
    if found is None:
        console.print(
            "no number of these keeps the targets: relax --easy-p99, or use faster workers"
        )


def _cells(tried: Candidate) -> tuple[str, ...]:
    result = tried.result
    return (
        f"{tried.easy}",
        f"{tried.thinking}",
        f"{tried.load:.0%}",
        f"{result.easy_p50_slowdown:.2f}",
        f"{result.easy_p99_slowdown:.2f}",
        f"{result.hard_p99_s:.1f} s",
        f"{result.refused:.1%}",
        f"{result.cut:.1%}",
    )
