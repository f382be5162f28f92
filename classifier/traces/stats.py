"""`ponder traces stats`: what the traces add up to."""

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from classifier.errors import DatasetError
from classifier.traces.parquet import read_parquet_traces
from classifier.traces.statistics import Key, Statistics
from ponder.cli.output import print_json
from ponder.cli.traces import models_to_read, redis_option, run_with_ledger
from ponder.cli.words import stop_word, tier_word
from ponder.ledger import Ledger

_PIPE_WIDTH = 140
_COLUMNS = (
    ("requests", "requests", "d"),
    ("share", "share", ".1%"),
    ("mean", "thinking_mean", ".0f"),
    ("p50", "thinking_p50", ".0f"),
    ("p90", "thinking_p90", ".0f"),
    ("budget hit", "budget_hit_rate", ".1%"),
    ("escalated", "escalation_rate", ".1%"),
    ("p90 covers", "p90_coverage", ".1%"),
    ("probes", "probe_token_share", ".1%"),
    ("forced", "forced_token_share", ".1%"),
    ("answer", "answer_tokens_mean", ".1f"),
)

_EPILOG = """\b
Examples:
  ponder traces stats --model reference
  ponder traces stats --traces traces --json | jq '.tiers[].p90_coverage'

p90 covers: how often the need was within the classifier's 90 % bound, before the counts corrected
it; requests that were cut count as long as they lasted (Kaplan-Meier). Only the row "all" judges
the bound: tier reached and stop are chosen by the need. probes and forced: share of
all tokens sampled or fed after the prompt. mean, p50 and p90 are of the thinking tokens spent.
"""


@click.command(epilog=_EPILOG)
@redis_option
@click.option(
    "--traces",
    "path",
    type=click.Path(exists=True, path_type=Path),
    help="Folder or file that `ponder traces export` wrote, instead of the ledger.",
)
@click.option("--model", help="Only of this model.  [default: all, together]")
@click.option("--since", type=click.DateTime(), help="Only what ended since this local time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def stats(
    redis_url: str | None,
    path: Path | None,
    model: str | None,
    since: datetime | None,
    as_json: bool,
) -> None:
    """Sum traces up, by tier and by what stopped the thinking."""
    since_s = since.timestamp() if since else 0.0
    if path is not None:
        statistics = _of_files(path, model, since_s)
    else:
        statistics = run_with_ledger(redis_url, lambda ledger: _of_ledger(ledger, model, since_s))
    if not len(statistics):
        raise click.ClickException("no such traces: check --model and --since")
    if as_json:
        print_json(as_document(statistics))
    else:
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        Console(width=width, highlight=False).print(_table(statistics))


def as_document(statistics: Statistics) -> dict[str, Any]:
    """{"all": figures, "tiers": {tier: figures and "stops": {stop: figures}}}."""
    document: dict[str, Any] = {"all": {}, "tiers": {}}
    for (tier, stop), figures in statistics.rows():
        if tier is None:
            document["all"] = figures
        elif stop is None:
            document["tiers"][tier_word(tier)] = {**figures, "stops": {}}
        else:
            document["tiers"][tier_word(tier)]["stops"][stop_word(stop)] = figures
    return document


def _of_files(path: Path, model: str | None, since_s: float) -> Statistics:
    statistics = Statistics()
    try:
        for _, trace in read_parquet_traces(path, model):
            if trace.finished_at_s >= since_s:
                statistics.add(trace)
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    return statistics


async def _of_ledger(ledger: Ledger, model: str | None, since_s: float) -> Statistics:
    statistics = Statistics()
    for name in await models_to_read(ledger, model):
        async for _, trace in ledger.read_traces(name):
            if trace.finished_at_s >= since_s:
                statistics.add(trace)
    return statistics


def _table(statistics: Statistics) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for head, _, _ in _COLUMNS:
        table.add_column(head, justify="right", no_wrap=True)
    for key, figures in statistics.rows():
        table.add_row(_name(key), *_cells(figures))
    return table


def _name(key: Key) -> str:
    tier, stop = key
    if tier is None:
        return "all"
    return tier_word(tier) if stop is None else f"  {stop_word(stop)}"


def _cells(figures: Mapping[str, Any]) -> list[str]:
    values = [(figures[name], form) for _, name, form in _COLUMNS]
    return ["-" if value is None else format(value, form) for value, form in values]
