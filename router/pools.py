"""The two pools of workers: who is alive, who takes the next segment, how fast they are."""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ponder import tasks
from ponder.tls import Dialler
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, Pool
from router import choice, discovery
from router.admission import PoolLoad
from router.burden import Burden
from router.discovery import DnsName, Resolve
from router.ejection import Ejections
from router.worker_link import WorkerLink, WorkerState

_log = logging.getLogger(__name__)
# For the second pool's first report, when the first pool's is there; both usually come at once.
_PATIENCE_S = 5.0
# Reports come as often as loads change; who is slow shows over seconds.
_JUDGEMENT_S = 0.5
# Less thinking than this is not worth a prefill more.
_LEAST_LOAN_TOKENS = 200
_NO_CAP = 2**31 - 1
_OTHER = {POOL_EASY: POOL_THINKING, POOL_THINKING: POOL_EASY}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolsConfig:
    """`targets` are host:port and unix:path, one worker each, and dns:///host:port, as many as the
    name has addresses, looked up every `resolve_interval_s`.

    `easy_cap_of` a model: most thinking that a worker of the easy pool is given, unless it tells
    its own cap. `dialler` opens the connections; None: without TLS.
    """

    targets: Mapping[Pool.ValueType, Sequence[str]]
    easy_cap_of: Callable[[str], int]
    resolve_interval_s: float = 5.0
    dialler: Dialler | None = None


class Pools:
    """One connection per worker. Built inside a running event loop."""

    def __init__(
        self,
        config: PoolsConfig,
        rng: random.Random,
        resolve: Resolve = discovery.resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clock = clock
        self._judged_at_s = -math.inf
        self._ejections: dict[Pool.ValueType, Ejections[str]] = {
            pool: Ejections() for pool in config.targets
        }
        self._rng = rng
        self._resolve = resolve
        self._names = [
            (pool, name)
            for pool, targets in config.targets.items()
            for name in map(discovery.parse_name, targets)
            if name is not None
        ]
        self._links = {
            pool: {
                target: WorkerLink(target, rng, dialler=config.dialler)
                for target in targets
                if discovery.parse_name(target) is None
            }
            for pool, targets in config.targets.items()
        }
        self._models: dict[str, None] = {}
        self._has_worker = asyncio.Event()
        self._has_every_pool = asyncio.Event()

    async def run(self) -> None:
        """Follows every worker and every name until cancelled."""
        async with asyncio.TaskGroup() as group:
            for link in self.links():
                group.create_task(link.watch(self._note_change))
            for pool, name in self._names:
                group.create_task(self._follow(pool, name, group))

    async def wait_until_ready(self, patience_s: float = _PATIENCE_S) -> None:
        """Returns when each configured pool has a worker.

        A pool that stays empty for `patience_s` after the other has one is not waited for.
        """
        await self._has_worker.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._has_every_pool.wait()

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that a worker has named, first come first; also those whose workers left."""
        return tuple(self._models)

    def find(
        self,
        pool: Pool.ValueType,
        model: str,
        budget_tokens: int,
        excluded: frozenset[WorkerLink] = frozenset(),
        *,
        holder: WorkerLink | None = None,
        prefix_tokens: int = 0,
    ) -> tuple[Pool.ValueType, WorkerLink] | None:
        """The worker that takes a segment of a request of this pool, and its own pool.

        `holder` has computed the first `prefix_tokens` of it. A worker of the other pool that is
        lent may have a cap() below the budget. None when nobody is left.
        """
        home = [
            link
            for link in self._alive(pool, model)
            if link not in excluded and budget_tokens <= self.cap(link, pool, model)
        ]
        # What is lent may be given back after a beginning; who stands in has to end it.
        least = min(budget_tokens, prefix_tokens + _LEAST_LOAN_TOKENS) if home else budget_tokens
        other = _OTHER[pool]
        away = [
            link
            for link in self._alive(other, model)
            if link not in excluded and least <= self.cap(link, other, model)
        ]
        found = choice.choose(home, away, self._rng, holder=holder, prefix_tokens=prefix_tokens)
        if found is None:
            return None
        return (pool if found in home else other), found

    def cap(self, link: WorkerLink, pool: Pool.ValueType, model: str) -> int:
        """Most thinking tokens, the prefix included, that the worker does of a request."""
        if link.load and link.load.HasField("max_thinking_budget"):
            return link.load.max_thinking_budget
        return self._config.easy_cap_of(model) if pool == POOL_EASY else _NO_CAP

    def has_worker(
        self, pool: Pool.ValueType, model: str, excluded: frozenset[WorkerLink] = frozenset()
    ) -> bool:
        """Whether a worker of the pool itself takes requests for the model."""
        return any(link not in excluded for link in self._alive(pool, model))

    def tokens_per_s(self, pool: Pool.ValueType, model: str) -> float:
        """Of one sequence, as the median worker measured it; infinite until measured. Of a pool
        without workers: of the other, which stands in.
        """
        links = self._alive(pool, model) or self._alive(_OTHER[pool], model)
        loads = [link.load for link in links]
        measured = [
            load.time_per_output_token_ms
            for load in loads
            if load and load.time_per_output_token_ms > 0
        ]
        return 1e3 / median(measured) if measured else float("inf")

    def load(self, pool: Pool.ValueType, model: str) -> PoolLoad:
        """What the pool has to do. For one without workers: the other, which stands in."""
        home, away = self._alive(pool, model), self._alive(_OTHER[pool], model)
        if not home:
            home, away = away, []
        lent = sum(
            choice.lendable_slots(link) for link in away if self._lends_all(link, pool, model)
        )
        burden = sum((link.burden for link in home), Burden())
        return PoolLoad(
            slots=sum(link.slots for link in home) + lent,
            in_flight=burden.num,
            backlog_tokens=burden.tokens,
            tokens_per_s=sum(link.slots for link in home) * self.tokens_per_s(pool, model),
            num_young=burden.num_young,
            young_tokens=burden.young_tokens,
            probation_tokens=min((link.probation_tokens for link in home), default=0),
        )

    def judge(self) -> None:
        """Takes out who is much slower than the rest of its pool, and lets back who was out."""
        now_s = self._clock()
        if now_s < self._judged_at_s + _JUDGEMENT_S:
            return
        self._judged_at_s = now_s
        for pool, ejections in self._ejections.items():
            links = self._links[pool]
            paces = {address: link.pace for address, link in links.items() if link.is_alive}
            slow = ejections.update(paces, now_s)
            for address, link in links.items():
                if (address in slow) != link.is_ejected:
                    link.is_ejected = address in slow
                    says = "is much slower than its pool: ejected" if link.is_ejected else "is back"
                    _log.warning("worker %s %s", address, says)

    async def close(self) -> None:
        for link in self.links():
            await link.close()

    def census(self) -> Iterator[tuple[Pool.ValueType, WorkerState, int]]:
        """How many workers of each pool are in each state."""
        for pool, links in self._links.items():
            counted = Counter(link.state for link in links.values())
            yield from ((pool, state, counted[state]) for state in WorkerState)

    def members(self) -> Iterator[tuple[Pool.ValueType, WorkerLink]]:
        """Every worker with the pool that it is of, alive or not."""
        return ((pool, link) for pool, links in self._links.items() for link in links.values())

    def links(self) -> Iterator[WorkerLink]:
        """Every worker that may be given something, alive or not."""
        return (link for links in self._links.values() for link in links.values())

    async def _follow(self, pool: Pool.ValueType, name: DnsName, group: asyncio.TaskGroup) -> None:
        known: dict[str, WorkerLink] = {}
        interval_s = self._config.resolve_interval_s
        async for addresses in discovery.follow(name, self._resolve, interval_s):
            for address in known.keys() - addresses:
                del self._links[pool][address]
                known.pop(address).retire()
            for address in addresses - self._links[pool].keys():
                known[address] = self._add(
                    pool, WorkerLink(address, self._rng, str(name), self._config.dialler), group
                )

    def _add(self, pool: Pool.ValueType, link: WorkerLink, group: asyncio.TaskGroup) -> WorkerLink:
        self._links[pool][link.address] = link
        group.create_task(self._keep_while_used(link))
        return link

    async def _keep_while_used(self, link: WorkerLink) -> None:
        watching = asyncio.create_task(link.watch(self._note_change))
        try:
            await link.wait_until_unused()
        finally:
            await tasks.stop([watching])
            await link.close()

    def _alive(self, pool: Pool.ValueType, model: str) -> list[WorkerLink]:
        return [
            link
            for link in self._links.get(pool, {}).values()
            if link.takes_requests and link.load and model in link.load.models
        ]

    def _lends_all(self, link: WorkerLink, pool: Pool.ValueType, model: str) -> bool:
        """Whether it could end most of the work of the other pool that is called `pool`."""
        easy_cap = self._config.easy_cap_of(model)
        return pool == POOL_EASY or self.cap(link, POOL_EASY, model) > easy_cap

    def _note_change(self) -> None:
        self.judge()
        for link in self.links():
            if link.load is not None:
                self._has_worker.set()
                self._models.update(dict.fromkeys(link.load.models))
        configured = (
            self._links[pool] for pool, targets in self._config.targets.items() if targets
        )
        if all(any(link.load for link in links.values()) for links in configured):
            self._has_every_pool.set()
