"""SIGINT and SIGTERM as an awaitable, for programs that stop what they started."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


class Stopped(Exception):
    """The user, or whoever runs us, asked us to stop."""


class StopSignals:
    """Remembers the first signal; every later one calls `hurry`."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._arrived = asyncio.Event()

    def note(self) -> None:
        if self._arrived.is_set():
            self._hurry()
        self._arrived.set()

    async def raise_when_stopped(self) -> NoReturn:
        """Raises Stopped."""
        await self._arrived.wait()
        raise Stopped


@contextmanager
def stop_signals(hurry: Callable[[], None]) -> Iterator[StopSignals]:
    """Listens for the duration of the block, in a running event loop of the main thread."""
    signals = StopSignals(hurry)
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, signals.note)
    try:
        yield signals
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
