"""Settles what no worker answers for, in tasks that outlive the request."""

import asyncio
import time
from collections.abc import Callable

from ponder.ledger import Duplicate
from ponder.settlement import settlement_of
from ponder.settler import Settler
from ponder.v1.budget_pb2 import Usage
from router.journey import Journey


class Settlements:
    """Settles in the name of the router."""

    def __init__(
        self, settler: Settler, router_name: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._settler = settler
        self._router_name = router_name
        self._clock = clock
        self._tasks: set[asyncio.Task[Usage]] = set()

    async def settle(self, journey: Journey) -> Usage:
        """Returns the usage that counts. Goes on to its end when the caller is cancelled."""
        return await asyncio.shield(self.start(journey))

    def start(self, journey: Journey) -> asyncio.Task[Usage]:
        """The same without waiting: for a request whose caller is gone."""
        task = asyncio.create_task(self._settle(journey))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait_until_idle(self) -> None:
        """Returns when everything begun has been settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _settle(self, journey: Journey) -> Usage:
        request, done = journey.as_it_ended()
        record = settlement_of(request, done, worker=self._router_name, finished_at_s=self._clock())
        outcome = await self._settler.settle(record)
        return outcome.usage if isinstance(outcome, Duplicate) else record.usage
