"""Calls at a steady rate, and calls as many at once as asked; with how long each took."""

import asyncio
import time
from collections.abc import Awaitable, Callable

Call = Callable[[], Awaitable[object]]


async def at_rate(call: Call, rate_per_s: float, num_calls: int) -> list[float]:
    """Milliseconds of each call; they start by the clock, whether or not earlier ones ended."""
    started_s = time.perf_counter()
    calls = []
    for number in range(num_calls):
        due_s = started_s + number / rate_per_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        calls.append(asyncio.create_task(_timed_ms(call)))
    return list(await asyncio.gather(*calls))


async def at_once(call: Call, concurrency: int, num_calls: int) -> float:
    """Calls per second, with so many under way all the time."""
    left = iter(range(num_calls))

    async def work() -> None:
        for _ in left:
            await call()

    started_s = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return num_calls / (time.perf_counter() - started_s)


async def _timed_ms(call: Call) -> float:
    started_s = time.perf_counter()
    await call()
    return (time.perf_counter() - started_s) * 1e3
