"""`ponder traces export`: the traces of the ledger as Parquet, again and again."""

from datetime import datetime
from pathlib import Path

import click
from tqdm import tqdm

from classifier.errors import DatasetError
from classifier.traces.exporter import Exporter
from ponder.cli.traces import models_to_read, redis_option, run_with_ledger
from ponder.ledger import Ledger
from ponder.trace_rows import TRACE_FIELDS, TRACE_SCHEMA_VERSION

_EPILOG = """\b
Examples:
  ponder traces export --out traces
  ponder traces export --out traces --model reference --since 2026-11-01
  ponder train --traces traces --model reference --out new.onnx

The folder is its own memory: the next export goes on after the last trace of the last part. The
ledger keeps traces for 30 days and at most about 100,000 of a model, so export more often than
that.
"""


@click.command(epilog=_EPILOG)
@redis_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder; each model gets a folder in it.",
)
@click.option("--model", help="Only of this model.  [default: all that have traces]")
@click.option(
    "--since",
    type=click.DateTime(),
    help="Skip what ended before this local time.",
)
@click.option(
    "--rows-per-file",
    "max_rows",
    default=50_000,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Most traces of one file.",
)
@click.option("--with-prompts", is_flag=True, help="With the prompts, where they were kept.")
@click.option("--schema", "show_schema", is_flag=True, help="Print the columns and export nothing.")
def export(
    redis_url: str | None,
    out: Path | None,
    model: str | None,
    since: datetime | None,
    max_rows: int,
    with_prompts: bool,
    show_schema: bool,
) -> None:
    """Export traces to Parquet files, from where the last export to the folder ended."""
    if show_schema:
        click.echo(schema_text())
        return
    if out is None:
        raise click.UsageError("where to: give --out")
    since_s = since.timestamp() if since else 0.0

    async def write(ledger: Ledger) -> None:
        for name in await models_to_read(ledger, model):
            with tqdm(desc=name, unit=" traces", disable=None) as bar:
                exporter = Exporter(
                    out, max_rows=max_rows, with_prompts=with_prompts, advance=bar.update
                )
                num_written = await exporter.export(ledger, name, since_s)
            click.echo(f"{name}: {num_written} traces written to {out}", err=True)

    try:
        run_with_ledger(redis_url, write)
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from error


def schema_text() -> str:
    """The columns of the files, one a line."""
    lines = [f"schema version {TRACE_SCHEMA_VERSION}"]
    for field in TRACE_FIELDS:
        lines.append(f"{field.name:<20}{field.kind:<13}{field.meaning}")
    return "\n".join(lines)
