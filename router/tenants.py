"""Who asks: the tenant comes from the credential of the call, never from the request.

The tenants file is TOML. A key is stored as its SHA-256 only; several may be valid at once, so
that a key can be replaced without a gap:

    [tenants.acme]
    max_tier = "complex"
    key_sha256 = ["9f86d081..."]
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ponder.environment import ConfigError
from ponder.v1.budget_pb2 import Tier
from router.errors import Unauthenticated
from router.tiers import parse_tier

LOCAL_TENANT: Final = "local"
_SCHEME: Final = "bearer "
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REMEDY = "send the metadata authorization: Bearer KEY"


@dataclass(frozen=True, slots=True)
class Tenant:
    """`max_tier` is what the tenant's plan includes."""

    name: str
    max_tier: Tier.ValueType


class Tenants:
    """Finds the tenant of a credential."""

    def __init__(self, by_key_sha256: Mapping[str, Tenant], anybody: Tenant | None = None) -> None:
        """With `anybody`, every caller is that tenant, whatever the credential."""
        self._by_key_sha256 = dict(by_key_sha256)
        self._anybody = anybody

    @classmethod
    def open_to_all(cls, max_tier: Tier.ValueType) -> Self:
        """One tenant for everybody: no file is configured."""
        return cls({}, Tenant(LOCAL_TENANT, max_tier))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigError."""
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls(dict(_entries(tables)))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise ConfigError(f"ROUTER_TENANTS_FILE={str(path)!r}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Every tenant once."""
        known = [self._anybody] if self._anybody else self._by_key_sha256.values()
        return tuple(dict.fromkeys(tenant.name for tenant in known))

    def authenticate(self, metadata: Mapping[str, str]) -> Tenant:
        """`metadata` has lower-case keys, as gRPC gives them. Raises Unauthenticated."""
        if self._anybody is not None:
            return self._anybody
        credential = metadata.get("authorization", "")
        if not credential.lower().startswith(_SCHEME):
            raise Unauthenticated(f"authorization is missing; {_REMEDY}")
        key = credential[len(_SCHEME) :].strip()
        # Looked up by hash, so the time taken tells nothing about the keys themselves.
        tenant = self._by_key_sha256.get(hashlib.sha256(key.encode()).hexdigest())
        if tenant is None:
            raise Unauthenticated(f"authorization holds an unknown key; {_REMEDY} with a valid one")
        return tenant


def _entries(tables: Mapping[str, Any]) -> Iterator[tuple[str, Tenant]]:
    tenants = tables.get("tenants")
    if not isinstance(tenants, dict) or not tenants or len(tables) > 1:
        raise ValueError("must hold tables [tenants.NAME] and nothing else")
    seen: set[str] = set()
    for name, table in tenants.items():
        tenant, digests = _parse_tenant(name, table)
        for digest in digests:
            if digest in seen:
                raise ValueError(f"tenants.{name}.key_sha256: a key is given twice")
            seen.add(digest)
            yield digest, tenant


def _parse_tenant(name: str, table: Any) -> tuple[Tenant, list[str]]:
    where = f"tenants.{name}"
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: a name has 1 to 64 letters, digits, dots, - and _")
    if not isinstance(table, dict) or set(table) != {"max_tier", "key_sha256"}:
        raise ValueError(f"{where}: needs max_tier and key_sha256 and nothing else")
    digests = table["key_sha256"]
    if not isinstance(digests, list) or not digests or not all(map(_is_sha256, digests)):
        raise ValueError(f"{where}.key_sha256: must be a list of SHA-256 in lower-case hex")
    try:
        return Tenant(name, parse_tier(table["max_tier"])), digests
    except ValueError as error:
        raise ValueError(f"{where}.max_tier: {error}") from error


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
