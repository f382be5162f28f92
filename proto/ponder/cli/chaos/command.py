"""`ponder chaos`: does it keep its promises while everything around it breaks?"""

import asyncio
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TextIO

import click
from rich.console import Console

from ponder.cli.chaos.books import Books, reconcile
from ponder.cli.chaos.fleet import Fleet, open_fleet
from ponder.cli.chaos.load import Traffic
from ponder.cli.chaos.report import RECONCILED_WITHIN_S, Report, Result
from ponder.cli.chaos.scenarios import FULL, QUICK, SCENARIOS, Size, Stage
from ponder.cli.child import ChildExited, LineSink
from ponder.cli.log import LastLines, say
from ponder.cli.output import print_json
from ponder.embedded_redis import EmbeddedRedisError

_NUM_EXAMPLES = 3
_WITH_REAL_WORKERS = ("kills", "routers", "redis", "hang", "loss", "drain")

_EPILOG = """\b
Examples:
  ponder chaos                          all of it, about half an hour; chaos.json, chaos.md
  ponder chaos --only kills --only hang --seed 7
  ponder chaos --quick                  a smaller one, under a minute
  ponder chaos --real --only kills      workers with the reference model

It starts a Redis, two routers and four workers on free ports, keeps asking, and counts: requests
that failed although somebody else could have answered, reports (settlements that a client was told
of) that the ledger lost, counted twice or holds otherwise. The workers are stand-ins without a
model, unless --real says otherwise; server, drain, ledger and spool are the real ones. In scenario
volume they are asked directly. Exit status 1: a promise was broken.
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(list(SCENARIOS)),
    help="Only this scenario; may be repeated.",
)
@click.option("--seed", default=0, show_default=True, help="Of prompts, needs and lost replies.")
@click.option("--real", is_flag=True, help="Workers with the reference model; slower.")
@click.option("--kills", type=click.IntRange(1), help="How many kills of workers.")
@click.option("--reports", type=click.IntRange(1), help="How many reports in scenario volume.")
@click.option("--quick", is_flag=True, help="A small run that only shows it works.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the report goes: JSON, and .md beside it.  [default: chaos.json]",
)
@click.option(
    "--log",
    "log_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what the processes write, each line with the time and the process.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, no table.")
@click.pass_context
def chaos(
    context: click.Context,
    names: tuple[str, ...],
    seed: int,
    real: bool,
    kills: int | None,
    reports: int | None,
    quick: bool,
    out: Path | None,
    log_path: Path | None,
    as_json: bool,
) -> None:
    """Kill, pause, flood and cut off a running stack, and check that its promises hold."""
    size = _sized(QUICK if quick else FULL, kills, reports)
    chosen = names or tuple(_WITH_REAL_WORKERS if real else SCENARIOS)
    if real and (alien := set(chosen) - set(_WITH_REAL_WORKERS)):
        raise click.UsageError(f"--real: {', '.join(sorted(alien))} needs stand-ins; leave it out")
    with ExitStack() as exits:
        log = LastLines()
        sink: LineSink = log
        if log_path is not None:
            sink = _file_sink(exits.enter_context(log_path.open("w", encoding="utf-8")))
        try:
            report = _run(chosen, seed, size, sink, real=real)
        except (ChildExited, EmbeddedRedisError) as error:
            log.show()
            raise click.ClickException(str(error)) from error
    report.write(out or Path("chaos.json"))
    if as_json:
        print_json(report.totals())
    else:
        Console().print(report.table())
    for line in report.broken():
        say(f"BROKEN {line}")
    if report.broken():
        context.exit(1)


def _sized(size: Size, kills: int | None, reports: int | None) -> Size:
    return replace(size, kills=kills or size.kills, volume_reports=reports or size.volume_reports)


def _file_sink(file: TextIO) -> LineSink:
    def write(name: str, line: str) -> None:
        file.write(f"{datetime.now():%H:%M:%S.%f} {name} {line}\n")
        file.flush()

    return write


def _run(names: tuple[str, ...], seed: int, size: Size, sink: LineSink, *, real: bool) -> Report:
    with tempfile.TemporaryDirectory(prefix="ponder-chaos-") as directory:
        results = asyncio.run(_play(Path(directory), names, seed, size, sink, real=real))
    workers = "reference model" if real else "stand-ins"
    return Report(seed=seed, workers=workers, results=results)


async def _play(
    directory: Path, names: tuple[str, ...], seed: int, size: Size, sink: LineSink, *, real: bool
) -> list[Result]:
    rng = Random(seed)
    say("starting Redis, two routers and four workers")
    async with open_fleet(directory, rng, sink, real=real) as fleet:
        return [await _play_one(fleet, name, size, rng) for name in names]


async def _play_one(fleet: Fleet, name: str, size: Size, rng: Random) -> Result:
    say(f"scenario {name}")
    started_s = time.monotonic()
    traffic = Traffic(fleet, rng, prefix=name)
    stage = Stage(fleet=fleet, traffic=traffic, size=size, say=lambda line: say(f"{name}: {line}"))
    try:
        await SCENARIOS[name](stage)
    finally:
        await traffic.close()
    books = await reconcile(fleet, traffic.told, RECONCILED_WITHIN_S)
    result = Result(
        scenario=name,
        seconds=round(time.monotonic() - started_s, 1),
        figures=_figures(traffic, books) | stage.figures,
        details=_details(traffic, books),
    )
    for line in (*result.broken(), *result.details):
        say(line)
    return result


def _figures(traffic: Traffic, books: Books) -> dict[str, float]:
    return {
        "reports": len(traffic.told),
        "failed_with_alternative": traffic.failed.total(),
        "lost_reports": len(books.lost),
        "doubled_reports": len(books.doubled),
        "restated_reports": len(books.restated),
        "unbalanced_books": len(books.faults),
        "reconciled_s": round(books.reconciled_s, 2),
        "asked": traffic.num_asked,
        "repeated": traffic.num_repeated,
        "shed": traffic.num_shed,
        "quarantined": traffic.num_quarantined,
    }


def _details(traffic: Traffic, books: Books) -> list[str]:
    failures = [f"{count} times {what}" for what, count in traffic.failed.most_common()]
    kinds = {"lost": books.lost, "doubled": books.doubled, "restated": books.restated}
    examples = [f"{kind}: {', '.join(ids[:_NUM_EXAMPLES])}" for kind, ids in kinds.items() if ids]
    return [*failures, *examples, *books.faults]
