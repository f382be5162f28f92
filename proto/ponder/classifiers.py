"""The classifiers' store in Redis: versions of the ONNX file, gate reports, and the rollout.

Written by `ponder classifier`, and by a router that rolls back; read by all routers.
"""

import json
import time
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import Any, Final, Self, TypeVar, cast

from redis.asyncio import Redis

from ponder import keys
from ponder.ledger import Ledger
from ponder.redis_call import within
from ponder.rollout import Change, Rollout, RolloutError, is_version
from ponder.shadow import ShadowTally

T = TypeVar("T")

MAX_VERSIONS: Final = 10
"""Versions kept per model, besides those that the rollout names."""
MAX_BYTES: Final = 16 << 20
"""Of one version's file: far above what any needs, far below what Redis and a router can hold."""
_MAX_HISTORY: Final = 100
_WINDOW_S: Final = 3_600
_NUM_WINDOWS: Final = 24
_SCAN_SIZE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """Where a version came from. `gate` is the report of the gate, None before there is one; it has
    "passed", true or false. Time is unix.
    """

    added_at_s: float
    added_by: str
    training_rows: int
    gate: Mapping[str, Any] | None = None

    @property
    def has_passed(self) -> bool:
        return self.gate is not None and self.gate.get("passed") is True


class ClassifierStore:
    """Every method raises LedgerUnavailable.

    The rollout is replaced as a whole, and only if nobody replaced it since it was read, so that
    any number of routers and people may change it at the same time.
    """

    def __init__(self, client: Redis, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        script = resources.files("ponder").joinpath("change_rollout.lua").read_text("utf-8")
        self._change = client.register_script(script)

    @classmethod
    def beside(cls, ledger: Ledger) -> Self:
        """In the Redis of the ledger, over the ledger's connection."""
        return cls(ledger.client, ledger.config.timeout_s)

    async def add(self, model: str, version: str, serialized: bytes, record: VersionRecord) -> None:
        """Keeps a version that was checked; the oldest beyond MAX_VERSIONS go.

        Adding it again keeps its gate report.
        """
        about = {name: value for name, value in asdict(record).items() if name != "gate"}
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hset(keys.classifiers(model), version, serialized)
        pipeline.hset(keys.classifier_records(model), version, json.dumps(about))
        await self._call(pipeline.execute())
        await self._forget_oldest(model)

    async def put_gate(self, model: str, version: str, report: Mapping[str, Any]) -> None:
        """Keeps the report of the gate on a version; it must have "passed"."""
        if not isinstance(report.get("passed"), bool):
            raise ValueError("the report of a gate needs passed, true or false")
        text = json.dumps(dict(report))
        await self._call(self._client.hset(keys.classifier_gates(model), version, text))

    async def versions(self, model: str) -> dict[str, VersionRecord]:
        """Those whose file is kept, newest first. Unreadable records count as none."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hkeys(keys.classifiers(model))
        pipeline.hgetall(keys.classifier_records(model))
        pipeline.hgetall(keys.classifier_gates(model))
        names, records, gates = await self._call(pipeline.execute())
        found = {
            name.decode(): _version_record(records.get(name), gates.get(name)) for name in names
        }
        by_age = sorted(found.items(), key=lambda item: -item[1].added_at_s)
        return {version: record for version, record in by_age if is_version(version)}

    async def read_bytes(self, model: str, version: str) -> bytes | None:
        """The ONNX file as it was added, unchecked; None when it is not kept."""
        found = self._client.hget(keys.classifiers(model), version)
        return await self._call(cast("Awaitable[bytes | None]", found))

    async def read_rollout(self, model: str) -> Rollout | None:
        """None when nothing was ever rolled out. Raises RolloutError when it cannot be right."""
        key = keys.rollout(model)
        found = await self._call(cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(key)))
        try:
            return Rollout.from_hash(found) if found else None
        except RolloutError as error:
            raise RolloutError(f"{key} in Redis: {error}; delete it to begin anew") from error

    async def change(
        self, model: str, after: Rollout, *, action: str, reason: str, changed_by: str
    ) -> bool:
        """Replaces the rollout that `after` was made from, and notes it in the history.

        False, and nothing changed, when somebody else replaced it first.
        """
        written = replace(
            after,
            revision=after.revision + 1,
            reason=reason,
            changed_by=changed_by,
            changed_at_s=time.time(),
        )
        fields = [part for pair in written.to_hash().items() for part in pair]
        line = Change.to(written, action).to_json()
        names = [keys.rollout(model), keys.rollout_history(model)]
        arguments = [after.revision, line, _MAX_HISTORY, *fields]
        return bool(await self._call(self._change(keys=names, args=arguments)))

    async def history(self, model: str) -> list[Change]:
        """The last changes, newest first."""
        found = self._client.lrange(keys.rollout_history(model), 0, _MAX_HISTORY - 1)
        lines = await self._call(cast("Awaitable[list[bytes]]", found))
        return [change for line in lines if (change := Change.from_json(line))]

    async def add_shadow(self, model: str, version: str, tally: ShadowTally, now_s: float) -> None:
        """Adds to the window of this time, unix seconds."""
        window = _window(now_s)
        key = keys.shadow(model, version, window)
        pipeline = self._client.pipeline(transaction=True)
        for name, count in tally.to_hash().items():
            pipeline.hincrby(key, name, count)
        pipeline.expireat(key, window + _NUM_WINDOWS * _WINDOW_S)
        await self._call(pipeline.execute())

    async def read_shadow(self, model: str, version: str, now_s: float) -> ShadowTally:
        """Of all routers, over the last day."""
        pipeline = self._client.pipeline(transaction=False)
        for age in range(_NUM_WINDOWS):
            pipeline.hgetall(keys.shadow(model, version, _window(now_s) - age * _WINDOW_S))
        return ShadowTally.from_hashes(await self._call(pipeline.execute()))

    async def models(self) -> list[str]:
        """The models that have versions, sorted. Looks at every key: not for a loop."""
        return await self._call(self._scan_models())

    async def _scan_models(self) -> list[str]:
        names = self._client.scan_iter(match=keys.ALL_CLASSIFIERS, count=_SCAN_SIZE)
        found = [keys.model_of_classifiers(name.decode()) async for name in names]
        return sorted({model for model in found if model is not None})

    async def _forget_oldest(self, model: str) -> None:
        try:
            rollout = await self.read_rollout(model)
        except RolloutError:
            return  # nobody knows which are in use
        named = rollout.versions if rollout else frozenset()
        spare = [version for version in await self.versions(model) if version not in named]
        if not (forgotten := spare[MAX_VERSIONS:]):
            return
        pipeline = self._client.pipeline(transaction=True)
        for key in (keys.classifiers, keys.classifier_records, keys.classifier_gates):
            pipeline.hdel(key(model), *forgotten)
        await self._call(pipeline.execute())

    async def _call(self, reply: Awaitable[T]) -> T:
        return await within(self._timeout_s, reply)


def _window(time_s: float) -> int:
    return int(time_s // _WINDOW_S) * _WINDOW_S


def _version_record(about: bytes | None, gate: bytes | None) -> VersionRecord:
    try:
        found = json.loads(about or b"{}")
        added_at_s, rows = float(found.get("added_at_s", 0.0)), int(found.get("training_rows", 0))
        record = VersionRecord(
            added_at_s=added_at_s, added_by=str(found.get("added_by", "")), training_rows=rows
        )
    except (AttributeError, TypeError, ValueError):
        record = VersionRecord(added_at_s=0.0, added_by="", training_rows=0)
    return replace(record, gate=_report(gate))


def _report(gate: bytes | None) -> Mapping[str, Any] | None:
    try:
        report = json.loads(gate or b"null")
    except ValueError:
        return None
    return report if isinstance(report, dict) else None
