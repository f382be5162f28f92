"""The two pools of workers: who is alive, who takes the next segment, how fast they are."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, Pool
from router.worker_link import WorkerLink

# For the second pool's first report, when the first pool's is there; both usually come at once.
_PATIENCE_S = 5.0
_OTHER = {POOL_EASY: POOL_THINKING, POOL_THINKING: POOL_EASY}


class Pools:
    """Static addresses, one connection per worker. Built inside a running event loop."""

    def __init__(
        self,
        addresses: Mapping[Pool.ValueType, Iterable[str]],
        easy_cap_of: Callable[[str], int],
        rng: random.Random,
    ) -> None:
        """`easy_cap_of` a model: most thinking that a worker of the easy pool is given."""
        self._links = {
            pool: tuple(WorkerLink(address, rng) for address in found)
            for pool, found in addresses.items()
        }
        self._easy_cap_of = easy_cap_of
        self._models: dict[str, None] = {}
        self._has_worker = asyncio.Event()
        self._has_every_pool = asyncio.Event()

    async def run(self) -> None:
        """Follows every worker until cancelled."""
        async with asyncio.TaskGroup() as group:
            for link in self.links():
                group.create_task(link.watch(self._note_change))

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
    ) -> tuple[Pool.ValueType, WorkerLink] | None:
        """The worker with the fewest outstanding predicted tokens, and its pool.

        The other pool helps out when this one has nobody: thinking workers always, easy workers
        when the budget is one of theirs. None when nobody is left.
        """
        candidates = [pool]
        if pool == POOL_EASY or budget_tokens <= self._easy_cap_of(model):
            candidates.append(_OTHER[pool])
        for candidate in candidates:
            able = [link for link in self._alive(candidate, model) if link not in excluded]
            if able:
                return candidate, min(able, key=_burden)
        return None

    def tokens_per_s(self, pool: Pool.ValueType, model: str) -> float:
        """Of one sequence, as the median worker measured it; infinite until measured."""
        loads = [link.load for link in self._alive(pool, model)]
        measured = [
            load.time_per_output_token_ms
            for load in loads
            if load and load.time_per_output_token_ms > 0
        ]
        return 1e3 / median(measured) if measured else float("inf")

    async def close(self) -> None:
        for link in self.links():
            await link.close()

    def members(self) -> Iterator[tuple[Pool.ValueType, WorkerLink]]:
        """Every worker with the pool that it is of, alive or not."""
        return ((pool, link) for pool, links in self._links.items() for link in links)

    def links(self) -> Iterable[WorkerLink]:
        """Every worker, alive or not."""
        return (link for links in self._links.values() for link in links)

    def _alive(self, pool: Pool.ValueType, model: str) -> list[WorkerLink]:
        return [
            link for link in self._links.get(pool, ()) if link.load and model in link.load.models
        ]

    def _note_change(self) -> None:
        for link in self.links():
            if link.load is not None:
                self._has_worker.set()
                self._models.update(dict.fromkeys(link.load.models))
        if all(any(link.load for link in links) for links in self._links.values() if links):
            self._has_every_pool.set()


def _burden(link: WorkerLink) -> tuple[float, int]:
    load = link.load
    return link.outstanding_tokens, load.running + load.waiting if load else 0
