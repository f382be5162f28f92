"""`ponder tenants list` and `show`."""

import time
from dataclasses import asdict

import click

from ponder.cli.output import print_json
from ponder.cli.tenant_options import (
    as_document,
    in_ledger,
    in_store,
    known,
    plan_words,
    store_options,
    tell,
)
from ponder.ledger import Ledger
from ponder.quotas import Used
from ponder.tenant_store import TenantRecord, TenantStore


@click.command("list")
@store_options
def list_tenants(redis_url: str | None, as_json: bool) -> None:
    """List the tenants with their plans and how many keys they have."""
    stored = in_store(redis_url, lambda store: store.read())
    records, problems = stored.records, stored.problems
    if as_json:
        print_json({"tenants": list(map(as_document, records.values())), "problems": problems})
        return
    for record in records.values():
        num_keys = f"{len(record.keys)} key{'' if len(record.keys) == 1 else 's'}"
        click.echo(f"{record.name}: {plan_words(record.plan)}; {num_keys}")
    for problem in problems:
        click.echo(problem, err=True)
    if not records:
        click.echo("no tenants yet; `ponder tenants add NAME` adds one", err=True)


@click.command()
@store_options
@click.argument("name")
def show(redis_url: str | None, as_json: bool, name: str) -> None:
    """Show NAME: its plan, its keys by their first digits, its subjects, and what it has used.

    Thinking tokens by calendar month (UTC), over all models; and what is reserved for the requests
    under way, as far as the plan has limits.
    """

    async def look(ledger: Ledger) -> tuple[TenantRecord, Used]:
        stored = await TenantStore.beside(ledger).read()
        record = known(stored.records, name)
        return record, await ledger.quotas.read(name, time.time())

    record, used = in_ledger(redis_url, look)
    if as_json:
        print_json(as_document(record) | {"used": asdict(used)})
        return
    tell(record, as_json=False)
    for month, tokens in sorted(used.by_month.items()):
        click.echo(f"  {month}: {tokens:,} thinking tokens")
    click.echo(f"  under way: {used.running}, {used.reserved:,} thinking tokens reserved")
