"""Background tasks: begun for a block, and ended."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

_CANCEL_AGAIN_S = 0.1


async def stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels until all have ended.

    Once is not enough: `asyncio.wait_for`, which redis-py uses, can swallow a cancellation before
    Python 3.12.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background work for the duration of the block; if any of it fails, so does the block."""
    async with asyncio.TaskGroup() as group:
        begun = [group.create_task(coroutine) for coroutine in work]
        try:
            yield
        finally:
            await stop(begun)
