"""Whether this process has just woken: it was stopped, or its machine stood still."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

_BEAT_S: Final = 0.25
_STANDSTILL_S: Final = 2.4
"""A router gives a worker up after 2.5 s without a report; a beat may be late."""
_MEMORY_S: Final = 2.0
"""What came in during the standstill is read soon after it."""


class Pulse:
    """Beats while the event loop runs.

    A worker that wakes finds the calls cancelled that its router has given up. Their clients have
    not gone: the requests went on elsewhere, and whoever ends them settles them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at_s = self._woke_at_s = clock()
        self._has_woken = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(_BEAT_S)

    def beat(self) -> None:
        """The event loop runs."""
        now_s = self._clock()
        if now_s - self._beat_at_s > _STANDSTILL_S:
            self._has_woken, self._woke_at_s = True, now_s
        self._beat_at_s = now_s

    def has_just_woken(self) -> bool:
        """Whether a call that ends now may have been given up meanwhile."""
        self.beat()
        return self._has_woken and self._clock() - self._woke_at_s < _MEMORY_S
