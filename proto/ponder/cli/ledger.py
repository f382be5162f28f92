"""`ponder ledger`: whether the books balance."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ponder.audit import Audit, audit
from ponder.cli.output import print_json
from ponder.cli.traces import models_to_read, redis_option, run_with_ledger
from ponder.ledger import Ledger

_EPILOG = """\b
Examples:
  ponder ledger check --redis-url redis://127.0.0.1:6379/0
  ponder ledger check --spool /var/lib/ponder/spool/easy --json

It exits with status 1, and says what differs, when the books do not balance. Under traffic it is
right too. Traces that were deleted for their age are counted: then the totals may be above what is
left of the traces, by exactly that many requests.
"""


@click.group(epilog=_EPILOG)
def ledger() -> None:
    """Check the ledger: what was spent, settled once each."""


@ledger.command(epilog=_EPILOG)
@redis_option
@click.option("--model", help="Only of this model.  [default: all that have traces]")
@click.option(
    "--spool",
    "spools",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Spool folder of a router or worker, to count what waits there; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def check(
    context: click.Context,
    redis_url: str | None,
    model: str | None,
    spools: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Prove the totals: per tenant, they are what the traces add up to, each request once."""

    async def read(found: Ledger) -> list[Audit]:
        models = await models_to_read(found, model)
        return [await audit(found, name, time.time(), spools) for name in models]

    audits = run_with_ledger(redis_url, read)
    if as_json:
        print_json([_document(one) for one in audits])
    else:
        for one in audits:
            _print(one)
    if any(one.faults() for one in audits):
        context.exit(1)


def _document(found: Audit) -> dict[str, Any]:
    return asdict(found) | {"faults": found.faults()}


def _print(found: Audit) -> None:
    click.echo(f"{found.model}: {found.num_traces} traces, {found.num_trimmed} deleted before")
    for books in found.tenants:
        totals, waiting = books.totals, books.spooled.requests
        click.echo(
            f"  {books.tenant}: {totals.requests} requests, {totals.thinking_tokens} thinking, "
            f"{totals.answer_tokens} answer tokens" + (f"; {waiting} spooled" if waiting else "")
        )
    for fault in found.faults():
        click.echo(f"  WRONG  {fault}")
    if not found.faults():
        click.echo("  the books balance")
