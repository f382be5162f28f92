import asyncio
import contextlib

from ponder import tasks


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again():
    cancellations = 0

    async def stubborn() -> None:
        nonlocal cancellations
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        cancellations += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.stop([task])

    assert task.cancelled()
    assert cancellations == 1


async def test_tasks_that_have_ended_are_left_alone():
    async def quick() -> None:
        pass

    task = asyncio.create_task(quick())
    await task

    await tasks.stop([task])
    assert not task.cancelled()
