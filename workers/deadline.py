"""The deadline of one segment: when its thinking must close, and when it must end."""

import asyncio
from collections.abc import Callable
from typing import Final

# Less than that cannot be told from the present.
_SHORTEST_WAIT_S: Final = 0.005
# So that the end, and what there is of an answer, still reaches the caller.
_DELIVERY_S: Final = 0.02


class Deadline:
    """Calls `close` once when no more than the answer's time is left, and `end` when none is.

    `answer_s` tells the answer's time by the speed of the moment. It is asked again and again,
    because whoever joins the batch slows everybody in it down.
    """

    def __init__(
        self,
        remaining_s: float,
        *,
        answer_s: Callable[[], float],
        close: Callable[[], None],
        end: Callable[[], None],
    ) -> None:
        """Starts at once, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._answer_s = answer_s
        self._close = close
        self._ends_at_s = self._loop.time() + max(0.0, remaining_s - _DELIVERY_S)
        self._end_timer = self._loop.call_at(self._ends_at_s, end)
        self._close_timer: asyncio.TimerHandle | None = None
        self._check()

    def cancel(self) -> None:
        """Calls nothing any more."""
        self._end_timer.cancel()
        if self._close_timer is not None:
            self._close_timer.cancel()

    def _check(self) -> None:
        spare_s = self._ends_at_s - self._loop.time() - self._answer_s()
        if spare_s <= 0:
            self._close()
            return
        self._close_timer = self._loop.call_later(max(spare_s / 2, _SHORTEST_WAIT_S), self._check)
