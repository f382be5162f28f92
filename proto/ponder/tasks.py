"""Ends background tasks."""

import asyncio
from collections.abc import Sequence

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
