"""`ponder bench cycle`: the whole learning loop on live traffic.

A first classifier, a shift of the traffic, drift, retraining, gate, shadow, canary, promotion, and
what the new one is worth to the same questions; and worse ones, which the gate must refuse.
"""

from __future__ import annotations

import importlib.resources
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from ponder import rpc
from ponder.cli.bench import bench_options
from ponder.cli.bench_stack import run_bench_stack
from ponder.cli.processes import Addresses
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1 import reasoner_pb2_grpc
from workers.bench.cycle_commands import Commands
from workers.bench.cycle_course import Course, Cycle, Sizes
from workers.bench.cycle_report import bench_report, broken, tables
from workers.bench.cycle_traffic import Traffic

_REQUESTS: Final = 4_400
_USUAL: Final = 2_800
_QUICK: Final = Sizes(usual=60, control=10, first=10, rest=30, shadowed=6, pairs=4, after=6)
_LEDGER_TIMEOUT_S: Final = 20.0
_TABLE_WIDTH: Final = 140

_EPILOG = f"""\b
Examples:
  ponder bench cycle                      40 minutes on two cores that are busy otherwise
  ponder bench cycle --json figures.json
  ponder bench cycle --quick              minutes; the classifiers are worth nothing

The gate needs 1,000 held-out requests of the shifted traffic, a quarter of it: with less than about
{_REQUESTS:,} --requests it refuses, which is said, and the promotion is forced to show the rest.
Exit status 1: a request failed or was degraded, a worse classifier was promoted or, unless --quick,
drift was not seen or seen where there is none, or the gate refused the new classifier.
"""


@click.command(epilog=_EPILOG)
@bench_options
@click.option(
    "--requests",
    type=click.IntRange(min=600),
    default=_REQUESTS,
    show_default=True,
    help="Of shifted traffic before the retraining.",
)
@click.option("--seed", default=2026, show_default=True, help="Of the questions.")
def cycle(json_path: str | None, quick: bool, requests: int, seed: int) -> None:
    """Shifted traffic, drift, retraining, gate, canary, promotion; and what the gate refuses."""
    found = _run(_QUICK if quick else _sizes(requests), seed)
    if json_path != "-":
        console = Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH, highlight=False)
        for table in tables(found):
            console.print(table)
    if json_path:
        bench_report(found).write_json(json_path)
    if reasons := broken(found, is_judged=not quick):
        raise click.ClickException("; ".join(reasons))


def _sizes(requests: int) -> Sizes:
    first = 300
    return Sizes(
        usual=_USUAL,
        control=first,
        first=first,
        rest=requests - first,
        shadowed=100,
        pairs=300,
        after=300,
    )


def _run(sizes: Sizes, seed: int) -> Cycle:
    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as name:
        directory = Path(name)

        async def use(addresses: Addresses) -> Cycle:
            ledger = Ledger.from_url(addresses.redis_url, LedgerConfig(timeout_s=_LEDGER_TIMEOUT_S))
            try:
                async with rpc.open_channel(addresses.router) as channel:
                    traffic = Traffic(reasoner_pb2_grpc.ReasonerStub(channel), seed)
                    commands = Commands(addresses.redis_url)
                    return await Course(traffic, commands, ledger, directory, sizes).run()
            finally:
                await ledger.close()

        # The model has no traces yet: nobody has a classifier of its own.
        general = Path(str(importlib.resources.files("classifier"))) / "general/difficulty.onnx"
        return run_bench_stack(directory / "stack", use, general)
