"""The tenants in Redis: their plans, the hashes of their keys, the names in their certificates.

Written by `ponder tenants`, read by all routers. One hash holds them all, a JSON record each.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import WatchError

from ponder import keys
from ponder.ledger import Ledger
from ponder.plans import TenantPlan
from ponder.redis_call import within

T = TypeVar("T")

KEY_ID_DIGITS: Final = 12
_KEY_PREFIX: Final = "ponder-"  # so that scanners for leaked secrets can know one
_KEY_BYTES: Final = 32
_CHANGES: Final = ""  # no tenant can be called so
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SUBJECT: Final = re.compile(r"[\x21-\x7e]{1,256}")


class TenantError(ValueError):
    """The change makes no sense as things stand, or the record is none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is kept of a key: never the key itself. Time is unix."""

    sha256: str
    created_at_s: float

    def __post_init__(self) -> None:
        if not is_sha256(self.sha256):
            raise TenantError("keys: sha256 must be 64 lower-case hexadecimal digits")

    @property
    def key_id(self) -> str:
        """Names the key to people: the first digits of its hash."""
        return self.sha256[:KEY_ID_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """One tenant. `subjects`: names in client certificates that are as good as a key."""

    name: str
    plan: TenantPlan
    keys: tuple[KeyRecord, ...] = ()
    subjects: tuple[str, ...] = ()
    created_at_s: float

    def __post_init__(self) -> None:
        check_name(self.name)
        for subject in self.subjects:
            check_subject(subject)

    @classmethod
    def from_json(cls, name: str, text: bytes) -> Self:
        """Raises TenantError for anything that to_json did not write."""
        try:
            found = json.loads(text)
            return cls(
                name=name,
                plan=TenantPlan.from_table(found["plan"]),
                keys=tuple(KeyRecord(**entry) for entry in found["keys"]),
                subjects=tuple(found["subjects"]),
                created_at_s=float(found["created_at_s"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TenantError(f"tenant {name!r}: unreadable record: {error}") from error

    def to_json(self) -> str:
        record = {
            "plan": self.plan.to_table(),
            "keys": [asdict(entry) for entry in self.keys],
            "subjects": list(self.subjects),
            "created_at_s": self.created_at_s,
        }
        return json.dumps(record, separators=(",", ":"))

    def with_key(self, key: str, now_s: float) -> Self:
        return replace(self, keys=(*self.keys, KeyRecord(sha256=digest(key), created_at_s=now_s)))

    def without_key(self, key_id: str) -> Self:
        """Raises TenantError."""
        found = [entry for entry in self.keys if entry.key_id == key_id]
        if len(found) != 1:
            known = ", ".join(entry.key_id for entry in self.keys) or "none"
            raise TenantError(f"{self.name} has no one key {key_id!r}; its keys are {known}")
        return replace(self, keys=tuple(entry for entry in self.keys if entry != found[0]))


Records = Mapping[str, TenantRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTenants:
    """All tenants by name, and one line for each record that is unreadable."""

    records: dict[str, TenantRecord]
    problems: list[str]
    is_blank: bool
    """No tenant was ever stored here: new, emptied, or a copy that has nothing yet."""
    num_changes: bytes
    """As Redis has it; empty where none was counted."""


class TenantStore:
    """Every method raises LedgerUnavailable."""

    def __init__(self, client: Redis, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    @classmethod
    def beside(cls, ledger: Ledger) -> Self:
        """In the Redis of the ledger, over the ledger's connection."""
        return cls(ledger.client, ledger.config.timeout_s)

    async def read(self) -> StoredTenants:
        """As they are at this moment."""
        reply = cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(keys.TENANTS))
        found = await self._call(reply)
        records, problems = _parsed(found)
        return StoredTenants(
            records=records,
            problems=problems,
            is_blank=not found,
            num_changes=found.get(_CHANGES.encode(), b""),
        )

    async def read_num_changes(self) -> bytes:
        """By which a reader knows whether it has to read again; see StoredTenants."""
        reply = cast("Awaitable[bytes | None]", self._client.hget(keys.TENANTS, _CHANGES))
        return await self._call(reply) or b""

    async def change(self, edit: Callable[[Records], TenantRecord]) -> TenantRecord:
        """Stores what `edit` makes of all the records. It is called again when somebody else
        changed one meanwhile; what it raises goes on.
        """
        return await self._call(self._change(edit))

    async def remove(self, name: str) -> bool:
        """Its keys are void at once; what it spent stays in the ledger. False: was not there."""
        pipeline = self._client.pipeline(transaction=False)
        # First: when the last tenant goes, this must not look like a Redis that was emptied.
        pipeline.hincrby(keys.TENANTS, _CHANGES, 1)
        pipeline.hdel(keys.TENANTS, name)
        pipeline.delete(keys.quota(name), keys.reservations(name))
        _, removed, _ = await self._call(pipeline.execute())
        return bool(removed)

    async def _change(self, edit: Callable[[Records], TenantRecord]) -> TenantRecord:
        async with self._client.pipeline() as pipeline:
            while True:
                await pipeline.watch(keys.TENANTS)
                found = pipeline.hgetall(keys.TENANTS)
                records, _ = _parsed(await cast("Awaitable[dict[bytes, bytes]]", found))
                record = edit(records)
                pipeline.multi()  # type: ignore[no-untyped-call]  # redis-py left it out
                pipeline.hincrby(keys.TENANTS, _CHANGES, 1)
                pipeline.hset(keys.TENANTS, record.name, record.to_json())
                try:
                    await pipeline.execute()
                    return record
                except WatchError:
                    continue

    async def _call(self, reply: Awaitable[T]) -> T:
        return await within(self._timeout_s, reply)


def new_key() -> str:
    """A key that cannot be guessed: 256 random bits."""
    return _KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest(key: str) -> str:
    """What is stored of a key. Plain SHA-256: a random key needs no salt and no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def check_name(name: object) -> None:
    """Raises TenantError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TenantError(f"{name!r}: a name has 1 to 64 letters, digits, dots, - and _")


def check_subject(subject: object) -> None:
    """Raises TenantError."""
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise TenantError(f"{subject!r}: a subject has 1 to 256 printable ASCII characters")


def _parsed(found: Mapping[bytes, bytes]) -> tuple[dict[str, Any], list[str]]:
    records, problems = {}, []
    for name, text in sorted(found.items()):
        if name.decode(errors="replace") == _CHANGES:
            continue
        try:
            record = TenantRecord.from_json(name.decode(errors="replace"), text)
            records[record.name] = record
        except TenantError as error:
            problems.append(str(error))
    return records, problems
