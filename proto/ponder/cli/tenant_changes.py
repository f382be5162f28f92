"""`ponder tenants add|plan|remove`."""

import time
from dataclasses import replace
from typing import Any

import click

from ponder.cli.output import print_json
from ponder.cli.tenant_options import (
    changed,
    changed_one,
    in_store,
    plan_options,
    planned,
    store_options,
    tell,
)
from ponder.plans import TenantPlan
from ponder.tenant_store import Records, TenantError, TenantRecord, new_key


@click.command()
@store_options
@plan_options
@click.argument("name")
@click.option("--no-key", is_flag=True, help="Without a first key, for client certificates.")
def add(redis_url: str | None, as_json: bool, name: str, no_key: bool, **fields: Any) -> None:
    """Add the tenant NAME, and print its first key: once, nobody can see it again.

    Without options the plan goes up to complex, without limits.
    """
    first_key, now_s = None if no_key else new_key(), time.time()

    def edit(records: Records) -> TenantRecord:
        if name in records:
            raise TenantError(f"{name} exists; change its plan with `ponder tenants plan {name}`")
        plan = planned(TenantPlan(), fields)
        record = TenantRecord(name=name, plan=plan, created_at_s=now_s)
        return record.with_key(first_key, now_s) if first_key else record

    tell(changed(redis_url, edit), as_json=as_json, secret=first_key)


@click.command()
@store_options
@plan_options
@click.argument("name")
def plan(redis_url: str | None, as_json: bool, name: str, **fields: Any) -> None:
    """Change the plan of NAME; what is not given stays as it is."""
    if all(value is None for value in fields.values()):
        raise click.UsageError("say what to change, for instance --max-tier research")

    def edit(record: TenantRecord) -> TenantRecord:
        return replace(record, plan=planned(record.plan, fields))

    tell(changed_one(redis_url, name, edit), as_json=as_json)


@click.command()
@store_options
@click.argument("name")
@click.confirmation_option(prompt="Its keys stop working at once. Remove it?")
def remove(redis_url: str | None, as_json: bool, name: str) -> None:
    """Remove NAME with its keys and subjects. Its traces and totals stay.

    Asks first; --yes does not.
    """
    if not in_store(redis_url, lambda store: store.remove(name)):
        raise click.ClickException(f"no tenant {name}")
    if as_json:
        print_json({"removed": name})
    else:
        click.echo(f"removed {name}")
