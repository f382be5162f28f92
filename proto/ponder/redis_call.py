"""A call to Redis that ends in time, in one way or the other."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

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
