"""Who asks: the tenant comes from the credential of the call, never from the request.

A credential is a key, or a client certificate whose name is known. Tenants are those of a TOML file
for small installations, and those in Redis (`ponder tenants`), which are read in the background: no
call waits for Redis, and while it is away the last known ones stand. Of keys only SHA-256 is known;
several may be valid at once, so that a key can be replaced without a gap:

    [tenants.acme]
    max_tier = "complex"
    tokens_per_minute = 20000        # this and the next two may be left out: no limit
    tokens_per_month = 5000000
    concurrency = 8
    key_sha256 = ["9f86d081..."]
    subjects = ["spiffe://example.org/acme"]
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ponder.environment import ConfigError
from ponder.plans import TenantPlan
from ponder.tenant_store import (
    TenantRecord,
    check_name,
    check_subject,
    digest,
    is_sha256,
)
from ponder.v1.budget_pb2 import Tier
from router.errors import Unauthenticated

LOCAL_TENANT: Final = "local"
_SCHEME: Final = "bearer "
_REMEDY = "send the metadata authorization: Bearer KEY"
_CREDENTIALS: Final = ("key_sha256", "subjects")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays, and what the plan includes."""

    name: str
    plan: TenantPlan

    @property
    def max_tier(self) -> Tier.ValueType:
        return self.plan.max_tier


@dataclass(frozen=True, slots=True)
class Entry:
    """A tenant with its credentials: SHA-256 of keys in hex, names in certificates."""

    tenant: Tenant
    digests: tuple[str, ...]
    subjects: tuple[str, ...] = ()


class Tenants:
    """Finds the tenant of a credential."""

    def __init__(self, entries: Iterable[Entry], anybody: Tenant | None = None) -> None:
        """With `anybody`, every caller is that tenant, whatever the credential."""
        self._own = {entry.tenant.name: entry for entry in entries}
        self._anybody = anybody
        self._index({})

    @classmethod
    def open_to_all(cls, max_tier: Tier.ValueType) -> Self:
        """One tenant for everybody: none are configured."""
        return cls((), Tenant(LOCAL_TENANT, TenantPlan(max_tier=max_tier)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigError."""
        try:
            return cls(_entries(tomllib.loads(path.read_text(encoding="utf-8"))))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ConfigError(f"ROUTER_TENANTS_FILE={str(path)!r}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Every tenant once."""
        return (self._anybody.name,) if self._anybody else self._names

    def authenticate(self, metadata: Mapping[str, str], identities: Sequence[str] = ()) -> Tenant:
        """`metadata` has lower-case keys, as gRPC gives them; `identities` are the names in the
        client's certificate, which was verified. A key decides before a certificate does: a proxy
        with a certificate of its own may pass keys on. Raises Unauthenticated.
        """
        if self._anybody is not None:
            return self._anybody
        credential = metadata.get("authorization", "")
        if credential:
            return self._of_key(credential)
        for identity in identities:
            if tenant := self._by_subject.get(identity):
                return tenant
        raise Unauthenticated(f"authorization is missing; {_REMEDY}")

    def replace_stored(self, records: Mapping[str, TenantRecord]) -> None:
        """Knows these besides those of the file, which win where both have a name."""
        self._index({name: _entry_of(record) for name, record in records.items()})

    def _of_key(self, credential: str) -> Tenant:
        if not credential.lower().startswith(_SCHEME):
            raise Unauthenticated(f"authorization is no bearer key; {_REMEDY}")
        # Looked up by hash, so the time taken tells nothing about the keys themselves.
        tenant = self._by_digest.get(digest(credential[len(_SCHEME) :].strip()))
        if tenant is None:
            raise Unauthenticated(f"authorization holds an unknown key; {_REMEDY} with a valid one")
        return tenant

    def _index(self, stored: Mapping[str, Entry]) -> None:
        entries = {**stored, **self._own}.values()
        self._names = tuple(entry.tenant.name for entry in entries)
        # The file's come last and win here too.
        self._by_digest = {sha256: entry.tenant for entry in entries for sha256 in entry.digests}
        self._by_subject = {name: entry.tenant for entry in entries for name in entry.subjects}


def _entry_of(record: TenantRecord) -> Entry:
    digests = tuple(key.sha256 for key in record.keys)
    return Entry(Tenant(record.name, record.plan), digests, record.subjects)


def _entries(tables: Mapping[str, Any]) -> Iterator[Entry]:
    tenants = tables.get("tenants")
    if not isinstance(tenants, dict) or not tenants or len(tables) > 1:
        raise ValueError("must hold tables [tenants.NAME] and nothing else")
    seen: set[str] = set()
    for name, table in tenants.items():
        entry = _parse_entry(name, table)
        for credential in (*entry.digests, *entry.subjects):
            if credential in seen:
                raise ValueError(f"tenants.{name}: a key or subject is given twice")
            seen.add(credential)
        yield entry


def _parse_entry(name: str, table: Any) -> Entry:
    try:
        check_name(name)
        if not isinstance(table, dict) or not set(table) & set(_CREDENTIALS):
            raise ValueError("needs key_sha256 or subjects, by which the tenant is known")
        if "max_tier" not in table:
            raise ValueError("needs max_tier, the highest tier of its plan")
        plan = {field: value for field, value in table.items() if field not in _CREDENTIALS}
        tenant = Tenant(name, TenantPlan.from_table(plan))
        return Entry(tenant, _digests(table), _subjects(table))
    except ValueError as error:
        raise ValueError(f"tenants.{name}: {error}") from error


def _digests(table: Mapping[str, Any]) -> tuple[str, ...]:
    found = table.get("key_sha256", [])
    if not isinstance(found, list) or not all(map(is_sha256, found)):
        raise ValueError("key_sha256: must be a list of SHA-256 in lower-case hex")
    return tuple(found)


def _subjects(table: Mapping[str, Any]) -> tuple[str, ...]:
    found = table.get("subjects", [])
    if not isinstance(found, list):
        raise ValueError("subjects: must be a list of names in certificates")
    for subject in found:
        check_subject(subject)
    return tuple(found)
