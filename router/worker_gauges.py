"""Shows in metrics how many workers are in which state, and how long their queues are."""

import asyncio
from collections.abc import Callable, Iterable

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from router.pools import Pools
from router.telemetry import Telemetry


class WorkerGauges:
    """Reads the pools in the background."""

    def __init__(self, pools: Pools, telemetry: Telemetry) -> None:
        self._pools = pools
        self._telemetry = telemetry

    async def run(self, models: Callable[[], Iterable[str]], interval_s: float) -> None:
        """Again and again, until cancelled."""
        while True:
            self._show(models())
            await asyncio.sleep(interval_s)

    def _show(self, models: Iterable[str]) -> None:
        for pool, state, number in self._pools.census():
            self._telemetry.show_workers(pool, state.value, number)
        for model in models:
            for pool in (POOL_EASY, POOL_THINKING):
                self._telemetry.show_queue(pool, model, self._pools.load(pool, model).wait_s)
