"""`ponder tenants key` and `subject`: by what a tenant is known."""

import time
from dataclasses import replace

import click

from ponder.cli.tenant_options import changed, changed_one, known, store_options, tell
from ponder.tenant_store import Records, TenantError, TenantRecord, new_key


@click.group()
def key() -> None:
    """Add and revoke keys. Several are valid at once, to change one without a gap."""


@click.group()
def subject() -> None:
    """Name client certificates that are as good as a key.

    The name is one of the certificate's subject alternative names, such as
    spiffe://example.org/acme or client.example.org; its common name if it has none. It counts only
    where ROUTER_CLIENT_CERTIFICATES=on makes the router ask for certificates.
    """


@key.command("add")
@store_options
@click.argument("name")
def add_key(redis_url: str | None, as_json: bool, name: str) -> None:
    """Give NAME one more key and print it: once, nobody can see it again."""
    secret, now_s = new_key(), time.time()
    record = changed_one(redis_url, name, lambda record: record.with_key(secret, now_s))
    tell(record, as_json=as_json, secret=secret)


@key.command("revoke")
@store_options
@click.argument("name")
@click.argument("key_id")
def revoke_key(redis_url: str | None, as_json: bool, name: str, key_id: str) -> None:
    """Make the key KEY_ID of NAME void; `ponder tenants show NAME` lists them."""
    tell(changed_one(redis_url, name, lambda record: record.without_key(key_id)), as_json=as_json)


@subject.command("add")
@store_options
@click.argument("name")
@click.argument("subject")
def add_subject(redis_url: str | None, as_json: bool, name: str, subject: str) -> None:
    """Let certificates of SUBJECT ask in the name of NAME."""

    def edit(records: Records) -> TenantRecord:
        for other in records.values():
            if subject in other.subjects:
                raise TenantError(f"{subject} belongs to {other.name}; remove it there first")
        record = known(records, name)
        return replace(record, subjects=(*record.subjects, subject))

    tell(changed(redis_url, edit), as_json=as_json)


@subject.command("remove")
@store_options
@click.argument("name")
@click.argument("subject")
def remove_subject(redis_url: str | None, as_json: bool, name: str, subject: str) -> None:
    """Let certificates of SUBJECT ask no more."""

    def edit(record: TenantRecord) -> TenantRecord:
        if subject not in record.subjects:
            raise TenantError(f"{name} has no subject {subject}")
        return replace(record, subjects=tuple(s for s in record.subjects if s != subject))

    tell(changed_one(redis_url, name, edit), as_json=as_json)
