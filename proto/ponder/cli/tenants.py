"""`ponder tenants`: who may ask, and how much. The tenants are kept in the ledger's Redis."""

from typing import Final

import click

from ponder.cli.tenant_changes import add, plan, remove
from ponder.cli.tenant_keys import key, subject
from ponder.cli.tenant_listing import list_tenants, show

_EPILOG: Final = """\b
Examples:
  ponder tenants add acme --tokens-per-minute 20000 --concurrency 8    prints its first key, once
  ponder tenants plan acme --max-tier research --tokens-per-month 5000000
  ponder tenants key add acme                    a second key; both are valid
  ponder tenants key revoke acme 9f86d081884c    then the old one goes
  ponder tenants subject add acme spiffe://example.org/acme
  ponder tenants list --json | jq '.tenants[].name'

A router knows these tenants with ROUTER_STORED_TENANTS=on, and follows every change within
ROUTER_REFRESH_INTERVAL_S, without a restart. A client sends its key as the metadata
authorization: Bearer KEY; `ponder ask` takes it from PONDER_API_KEY.
"""


@click.group(epilog=_EPILOG)
def tenants() -> None:
    """Say who may ask, with which keys, and how much.

    A plan has the highest tier, the thinking tokens per minute and per calendar month (UTC), and
    how many requests may run at once, over all models. Research is for tenants who pay for it: a
    plan has it only when it says so. Of a key only its SHA-256 is stored.
    """


for command in (add, plan, remove, key, subject, list_tenants, show):
    tenants.add_command(command)
