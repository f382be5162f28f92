"""The ledger in Redis: what was spent, what was learned, and one trace per request. Exactly once.

Written by whoever ends a request (through ponder/settler.py), read by the router and retraining.
"""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Self, TypeVar, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ponder import keys
from ponder.charges import Charges, spent_of
from ponder.corrections import Corrections
from ponder.counts import NeedCounts, Totals
from ponder.feedback import Feedback
from ponder.outcomes import Outcomes
from ponder.quotas import Quotas
from ponder.redis_call import LedgerUnavailable as LedgerUnavailable
from ponder.redis_call import execute, within
from ponder.settle_script import LedgerConfig as LedgerConfig
from ponder.settle_script import script_arguments, script_keys
from ponder.settlement import Settlement, usage_from_dict
from ponder.v1.budget_pb2 import Usage

T = TypeVar("T")
_PAGE_SIZE = 500
_SCAN_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class Settled:
    """The record was applied."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The request had been settled before, with this usage; nothing was changed."""

    usage: Usage


class Ledger:
    """Settles requests and reads what was settled. Every method raises LedgerUnavailable.

    The rule of settling. A request is settled once per (model, tenant, request_id), by whoever ends
    it, with the usage of all its segments:

    - A segment that ends because its budget ran out while the router may escalate
      (answer_on_exhaustion false) is not final and settles nothing. The router hands its usage and
      thinking to the next segment, which settles for both.
    - A worker that dies settles nothing. The router resumes from the thinking it received, and that
      is what counts: tokens the dead worker had not sent are thought again and counted then.
      What else the dead segment spent (probes, device time) is not known and not counted.
    - A worker that settled and died before its last event arrived is resumed too; the second
      settlement finds the first and changes nothing. Duplicate carries the usage that counts.
    - A cancelled call is final: the worker settles it as cancelled. So the router never cancels a
      segment in order to move it; a drained worker finishes its segments.
    - When no worker can take the next segment, or the client leaves between segments, the router
      settles. A router killed in that instant leaves the earlier segments unsettled for good.
    """

    def __init__(self, client: Redis, config: LedgerConfig, quotas: Quotas | None = None) -> None:
        """`quotas` is for tests of what happens when a charge cannot be made."""
        self._client = client
        self._config = config
        script = resources.files("ponder").joinpath("settle.lua").read_text(encoding="utf-8")
        self._settle = client.register_script(script)
        self._quotas = quotas or Quotas(client, config.timeout_s)
        self._charges = Charges(client, self._quotas, config.timeout_s, config.settled_life_s)

    @classmethod
    def from_url(cls, url: str, config: LedgerConfig | None = None) -> Self:
        """Connects on first use. Raises ValueError for a URL that redis-py cannot read."""
        config = config or LedgerConfig()
        client = Redis.from_url(
            url,
            socket_timeout=None,  # see redis_call.py
            socket_connect_timeout=config.timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        return cls(client, config)

    @property
    def config(self) -> LedgerConfig:
        return self._config

    @property
    def client(self) -> Redis:
        """The connection, for what else is kept in the same Redis."""
        return self._client

    async def ping(self) -> None:
        """Returns when Redis answers."""
        await self._call(self._client.ping())

    @property
    def quotas(self) -> Quotas:
        """What the tenants have used of their plans."""
        return self._quotas

    async def identity(self) -> str:
        """Which process answers, and which data set: another one may have forgotten settlements.

        The first tells a failover and a restart, the second that everything was deleted.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(keys.EPOCH, secrets.token_hex(8), nx=True)
        pipeline.get(keys.EPOCH)
        pipeline.info("server")
        _, epoch, info = await execute(self._config.timeout_s, pipeline)
        return f"{info.get('run_id', '')} {cast(bytes, epoch).decode()}"

    async def settle(self, record: Settlement) -> Settled | Duplicate:
        """Applies the record, unless its request was settled before, and charges the tenant's plan.

        The plan counts over all models, so on a cluster it is another node's; hence two scripts.
        Each happens once however often this is repeated, and whoever gets an error repeats it. For
        who dies between the two see charge_overdue.
        """
        (outcome,) = await self.settle_all([record])
        return outcome

    async def settle_all(self, records: Sequence[Settlement]) -> list[Settled | Duplicate]:
        """The same in two round trips, in this order. When it raises, some may be settled."""
        pipeline = self._client.pipeline(transaction=False)
        for record in records:
            names = script_keys(record, self._config)
            arguments = script_arguments(record, self._config)
            await self._settle(keys=names, args=arguments, client=pipeline)
        self._charges.forget_confirmed(pipeline)
        replies = await execute(self._config.timeout_s, pipeline)
        outcomes = [_outcome(earlier) for earlier in replies[: len(records)]]
        await self._charges.make(
            spent_of(record, outcome.usage if isinstance(outcome, Duplicate) else None)
            for record, outcome in zip(records, outcomes, strict=True)
        )
        return outcomes

    async def charge_overdue(self, model: str, now_s: float) -> int:
        """Makes the charges of those who died after they had settled; how many that were.

        At any time, by anybody, however often. `now_s` is unix time.
        """
        return await self._charges.make_overdue(model, now_s)

    async def settled_usage(self, model: str, tenant: str, request_id: str) -> Usage | None:
        """What the request was settled with, or None."""
        found = await self._call(self._client.get(keys.settled(model, tenant, request_id)))
        return None if found is None else usage_from_dict(json.loads(found))

    async def settled_usages(self, names: Sequence[tuple[str, str, str]]) -> list[Usage | None]:
        """The same for many requests: model, tenant and request_id of each."""
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.get(keys.settled(*name))
        found = await execute(self._config.timeout_s, pipeline)
        return [None if one is None else usage_from_dict(json.loads(one)) for one in found]

    async def totals(self, model: str, tenant: str) -> Totals:
        """Everything the tenant ever spent on the model."""
        found = await self._call(
            cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(keys.totals(model, tenant)))
        )
        return Totals.from_hash(found)

    async def read_counts(
        self, model: str, version: str, now_s: float, tenant: str | None = None
    ) -> NeedCounts:
        """Needs of requests that this version of the classifier predicted: the sum of the windows
        that have not faded; of all tenants together when none is named.
        """
        windows = self._config.windows(now_s)
        found = await self._hashes(keys.counts(model, version, tenant, at) for at in windows)
        return NeedCounts.from_hashes(found)

    async def read_outcomes(
        self, model: str, version: str, now_s: float, tenant: str | None = None
    ) -> Outcomes:
        """Outcomes of first budgets that this version decided; summed like the counts."""
        windows = self._config.windows(now_s)
        found = await self._hashes(keys.outcomes(model, version, tenant, at) for at in windows)
        return Outcomes.from_hashes(found)

    async def read_corrections(self, model: str, version: str, tenant: str) -> Corrections:
        """The corrections of the tenant's coverage, all within their bounds."""
        (found,) = await self._hashes([keys.corrections(model, version, tenant)])
        return Corrections.from_hash(found)

    async def read_traces(
        self, model: str, after_id: str = "0"
    ) -> AsyncIterator[tuple[str, Settlement]]:
        """Readable traces with their stream id, oldest first, from after `after_id`."""
        async for trace_id, record in self._read_stream(keys.traces(model), after_id):
            if trace := _readable(record):
                yield trace_id, trace

    async def read_newest_traces(self, model: str) -> AsyncIterator[tuple[str, Settlement]]:
        """The same, newest first."""
        end = "+"
        while True:
            reply = await self._call(
                self._client.xrevrange(keys.traces(model), max=end, count=_PAGE_SIZE)
            )
            page = cast("list[tuple[bytes, dict[bytes, bytes]]]", reply)
            for trace_id, record in page:
                end = f"({trace_id.decode()}"
                if trace := _readable(record):
                    yield trace_id.decode(), trace
            if len(page) < _PAGE_SIZE:
                return

    async def traced_models(self) -> list[str]:
        """The models that have traces, sorted. Looks at every key: not for a loop."""
        models, cursor = set(), 0
        while True:
            cursor, found = await self._call(
                self._client.scan(cursor, match=keys.ALL_TRACES, count=_SCAN_SIZE)
            )
            names = (cast(bytes, key).decode() for key in found)
            models |= {model for name in names if (model := keys.model_of_traces(name))}
            if cursor == 0:
                return sorted(models)

    async def record_feedback(self, feedback: Feedback) -> None:
        """Keeps the feedback as long as a trace; a later one for the same request stands."""
        config = self._config
        oldest_ms = int((feedback.given_at_s - config.trace_life_s) * 1e3)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.xadd(keys.FEEDBACK, feedback.to_record(), maxlen=config.max_traces)
        pipeline.xtrim(keys.FEEDBACK, minid=max(0, oldest_ms), approximate=False)
        pipeline.expire(keys.FEEDBACK, config.trace_life_s)
        await execute(self._config.timeout_s, pipeline)

    async def read_feedback(self, after_id: str = "0") -> AsyncIterator[tuple[str, Feedback]]:
        """Feedback with its stream id, oldest first, from after `after_id`."""
        async for entry_id, record in self._read_stream(keys.FEEDBACK, after_id):
            yield entry_id, Feedback.from_record(record)

    async def close(self) -> None:
        await self._client.aclose()

    async def _read_stream(
        self, key: str, after_id: str
    ) -> AsyncIterator[tuple[str, dict[bytes, bytes]]]:
        while True:
            reply = await self._call(self._client.xrange(key, f"({after_id}", count=_PAGE_SIZE))
            page = cast("list[tuple[bytes, dict[bytes, bytes]]]", reply)
            for entry_id, record in page:
                after_id = entry_id.decode()
                yield after_id, record
            if len(page) < _PAGE_SIZE:
                return

    async def _hashes(self, names: Iterable[str]) -> list[dict[bytes, bytes]]:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(name)
        return cast("list[dict[bytes, bytes]]", await execute(self._config.timeout_s, pipeline))

    async def _call(self, reply: Awaitable[T]) -> T:
        return await within(self._config.timeout_s, reply)


def _outcome(earlier: object) -> Settled | Duplicate:
    if earlier is None:
        return Settled()
    return Duplicate(usage_from_dict(json.loads(cast(bytes, earlier))))


def _readable(record: dict[bytes, bytes]) -> Settlement | None:
    try:
        return Settlement.from_json(record[b"settlement"])
    except (KeyError, ValueError):
        return None
