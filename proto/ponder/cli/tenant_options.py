"""What the commands of `ponder tenants` share: options, the store, what they print."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from ponder.cli.output import print_json
from ponder.cli.traces import redis_option, run_with_ledger
from ponder.ledger import Ledger
from ponder.plans import MAX_LIMIT, TIER_NAMES, TenantPlan
from ponder.tenant_store import Records, TenantError, TenantRecord, TenantStore

T = TypeVar("T")


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --redis-url and --json as `redis_url` and `as_json`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    return redis_option(as_json(command))


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the fields of a plan, None where they are not given."""
    limit = click.IntRange(0, MAX_LIMIT)
    for option in (
        click.option("--concurrency", type=limit, help="Requests at once; 0: no limit."),
        click.option("--tokens-per-month", type=limit, help="Thinking tokens; 0: no limit."),
        click.option("--tokens-per-minute", type=limit, help="Thinking tokens; 0: no limit."),
        click.option("--max-tier", type=click.Choice(list(TIER_NAMES)), help="Highest tier."),
    ):
        command = option(command)
    return command


def in_store(redis_url: str | None, use: Callable[[TenantStore], Awaitable[T]]) -> T:
    """Runs a coroutine on the store. Raises click.ClickException in one line."""
    return in_ledger(redis_url, lambda ledger: use(TenantStore.beside(ledger)))


def in_ledger(redis_url: str | None, use: Callable[[Ledger], Awaitable[T]]) -> T:
    """The same for what needs more than the store."""
    try:
        return run_with_ledger(redis_url, use)
    except TenantError as error:
        raise click.ClickException(str(error)) from error


def changed(redis_url: str | None, edit: Callable[[Records], TenantRecord]) -> TenantRecord:
    """The record as it is stored now."""
    return in_store(redis_url, lambda store: store.change(edit))


def changed_one(
    redis_url: str | None, name: str, edit: Callable[[TenantRecord], TenantRecord]
) -> TenantRecord:
    """The same for a tenant that must exist."""
    return changed(redis_url, lambda records: edit(known(records, name)))


def known(records: Records, name: str) -> TenantRecord:
    """Raises TenantError."""
    if name not in records:
        names = ", ".join(records) or "none yet"
        raise TenantError(f"no tenant {name}; there are: {names}")
    return records[name]


def planned(plan: TenantPlan, fields: Mapping[str, Any]) -> TenantPlan:
    """The plan with the fields that were given."""
    given = {name: value for name, value in fields.items() if value is not None}
    if "max_tier" in given:
        given["max_tier"] = TIER_NAMES[given["max_tier"]]
    return replace(plan, **given)


def tell(record: TenantRecord, *, as_json: bool, secret: str | None = None) -> None:
    """Prints the tenant; a new key too, which nobody can read again."""
    if as_json:
        print_json(as_document(record) | ({"key": secret} if secret else {}))
        return
    click.echo(f"{record.name}: {plan_words(record.plan)}")
    for entry in record.keys:
        click.echo(f"  key {entry.key_id}, since {_day(entry.created_at_s)}")
    for subject in record.subjects:
        click.echo(f"  subject {subject}")
    if secret:
        click.echo("Keep the new key, it is shown this once:", err=True)
        click.echo(secret)


def as_document(record: TenantRecord) -> dict[str, Any]:
    """For --json: without the full hashes, which nobody needs."""
    return {
        "name": record.name,
        "plan": record.plan.to_table(),
        "keys": [
            {"key_id": entry.key_id, "created_at_s": entry.created_at_s} for entry in record.keys
        ],
        "subjects": list(record.subjects),
        "created_at_s": record.created_at_s,
    }


def plan_words(plan: TenantPlan) -> str:
    """One line."""
    limits = [
        f"{limit:,} {what}"
        for limit, what in (
            (plan.tokens_per_minute, "thinking tokens per minute"),
            (plan.tokens_per_month, "per month"),
            (plan.concurrency, "requests at once"),
        )
        if limit
    ]
    return f"up to {plan.tier_name}, {', '.join(limits) or 'no limits'}"


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d")
