"""`ponder bench`: the measurements. Each package brings its own, found by entry point."""

from collections.abc import Callable

import click

from ponder.cli.discovery import EntryPointGroup

BENCHMARK_GROUP = "ponder.benchmarks"

_EPILOG = """\b
Examples:
  ponder bench plan                        the router's own time, beside a bare gRPC call
  ponder bench problems --json figures.json
  ponder bench problems --quick            a smoke run

Progress goes to standard error; speeds are given beside a control measured in the same run.
"""


@click.group(cls=EntryPointGroup, entry_points=BENCHMARK_GROUP, epilog=_EPILOG)
def bench() -> None:
    """Measure Ponder on this machine."""


def bench_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --json and --quick, as `json_path` and `quick`."""
    json_option = click.option(
        "--json",
        "json_path",
        metavar="FILE",
        help="Write the figures as JSON; - for standard output, with no table then.",
    )
    quick_option = click.option(
        "--quick", is_flag=True, help="A small run that only shows it works."
    )
    return json_option(quick_option(command))
