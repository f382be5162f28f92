"""Whether the server is well: its own health page, asked once a second."""

import asyncio
import logging
from types import TracebackType
from typing import Final, Self

from ponder import tasks
from workers.upstream.wire import Wire

_log = logging.getLogger(__name__)

_PATH: Final = "/health"  # of all three servers
_FAILURES_THAT_COUNT: Final = 2


class ServerHealth:
    """Asks while it is entered. `is_well` turns with the second failure, and with one success."""

    def __init__(self, wire: Wire, interval_s: float = 1.0) -> None:
        self.is_well = True
        self._wire = wire
        self._interval_s = interval_s
        self._num_failures = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            await tasks.stop([self._task])

    async def check(self) -> None:
        """Ask once."""
        is_well = await self._wire.is_well(_PATH)
        self._num_failures = 0 if is_well else self._num_failures + 1
        is_well = self._num_failures < _FAILURES_THAT_COUNT
        if is_well != self.is_well:
            _log.warning("the upstream is %s", "well again" if is_well else "not well")
        self.is_well = is_well

    async def _watch(self) -> None:
        while True:
            await self.check()
            await asyncio.sleep(self._interval_s)
