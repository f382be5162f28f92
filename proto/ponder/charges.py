"""Charges that are certain: what was settled is charged too, whoever dies in between.

The settlement is in the model's slot, the plan in the tenant's, so no script does both. settle.lua
notes the charge in the model's slot, the next round trip makes it, and the note goes with the next
settlement. So notes that stay belong to somebody who died, or who settles nothing at the moment;
routers make these charges too, and one that was made is not made again.
"""

import contextlib
import json
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Final, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from ponder import keys
from ponder.quotas import Quotas, RequestName, Spent
from ponder.redis_call import execute, within
from ponder.settlement import Settlement
from ponder.v1.budget_pb2 import Usage

# Notes beyond these stay for a router: no settlement waits for a long list.
_MOST_CONFIRMED: Final = 1_000
_MOST_TOKENS: Final = 1 << 53


class Charges:
    """Every method raises LedgerUnavailable."""

    def __init__(
        self, client: Redis, quotas: Quotas, timeout_s: float, settled_life_s: int
    ) -> None:
        self._client = client
        self._quotas = quotas
        self._timeout_s = timeout_s
        self._settled_life_s = settled_life_s
        self._confirmed: list[Spent] = []

    async def make(self, spent: Iterable[Spent]) -> None:
        """Charges each, unless it was charged before."""
        spent = list(spent)
        await self._quotas.charge_all(spent, remembered_s=self._settled_life_s)
        self._confirmed = (self._confirmed + spent)[-_MOST_CONFIRMED:]

    def forget_confirmed(self, pipeline: Pipeline) -> None:
        """Adds to the pipeline that the notes of all charges made go."""
        _forget(pipeline, self._confirmed)
        self._confirmed = []

    async def make_overdue(self, model: str, now_s: float) -> int:
        """Makes every charge that is noted, and returns how many had not been made."""
        reply = cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(keys.uncharged(model)))
        notes = await within(self._timeout_s, reply)
        if not notes:
            return 0
        # Whether an older one was charged, nobody knows any more.
        life_s = self._settled_life_s
        spent = [one for one in _readable(model, notes) if abs(now_s - one.finished_at_s) < life_s]
        charged = await self._quotas.charge_all(spent, remembered_s=self._settled_life_s)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hdel(keys.uncharged(model), *cast("list[str]", list(notes)))
        await execute(self._timeout_s, pipeline)
        return sum(charged)


def spent_of(record: Settlement, usage: Usage | None = None) -> Spent:
    """What the request is charged: `usage`, where another one was settled before the record's."""
    return Spent(
        name=RequestName(tenant=record.tenant, model=record.model, request_id=record.request_id),
        tokens=(record.usage if usage is None else usage).thinking_tokens,
        finished_at_s=record.finished_at_s,
    )


def charge_arguments(spent: Spent) -> tuple[str, str]:
    """Name and contents of the note, as settle.lua writes it."""
    note = {
        "tenant": spent.name.tenant,
        "request_id": spent.name.request_id,
        "tokens": spent.tokens,
        "finished_at_s": spent.finished_at_s,
    }
    return _note_name(spent), json.dumps(note, separators=(",", ":"))


def _note_name(spent: Spent) -> str:
    name = spent.name
    return keys.charged(name.tenant, name.model, name.request_id)


def _forget(pipeline: Pipeline, spent: Iterable[Spent]) -> None:
    for one in spent:
        pipeline.hdel(keys.uncharged(one.name.model), _note_name(one))


def _readable(model: str, notes: Mapping[bytes, bytes]) -> Iterator[Spent]:
    """What Redis keeps may be corrupted: only what settle.lua can have written."""
    for name, note in notes.items():
        with contextlib.suppress(KeyError, OverflowError, TypeError, ValueError):
            spent = _parsed(model, note)
            if 0 <= spent.tokens < _MOST_TOKENS and _note_name(spent).encode() == name:
                yield spent


def _parsed(model: str, note: bytes) -> Spent:
    found = json.loads(note)
    name = RequestName(
        tenant=str(found["tenant"]), model=model, request_id=str(found["request_id"])
    )
    return Spent(
        name=name, tokens=int(found["tokens"]), finished_at_s=float(found["finished_at_s"])
    )
