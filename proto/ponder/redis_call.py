"""A call to Redis that ends in time, in one way or the other.

The client itself has no time limit: redis-py's uses asyncio.wait_for, which up to Python 3.11
forgets a cancellation that meets its result. Then a stopping process would wait for ever.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

T = TypeVar("T")


class LedgerUnavailable(Exception):
    """Redis did not take or give the record: gone, slow, full, read-only or wrong."""


async def within(timeout_s: float, reply: Awaitable[T]) -> T:
    """What Redis replies. Raises LedgerUnavailable, whatever went wrong."""
    try:
        async with asyncio.timeout(timeout_s):
            return await reply
    except (RedisError, OSError, TimeoutError) as error:
        raise LedgerUnavailable(f"{type(error).__name__}: {error}") from error


async def execute(timeout_s: float, pipeline: Pipeline) -> list[Any]:
    """The replies of everything in the pipeline, whose connection goes back also when the caller is
    cancelled meanwhile. Raises LedgerUnavailable.
    """
    async with pipeline:
        return await within(timeout_s, pipeline.execute())
