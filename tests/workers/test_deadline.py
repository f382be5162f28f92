"""The order of what a deadline calls; how long it takes decides nothing here."""

import asyncio
from itertools import chain, repeat

import pytest

from workers.deadline import Deadline

PATIENCE_S = 20


Calls = asyncio.Queue[str]


@pytest.fixture
def calls() -> Calls:
    return Calls()


def start(calls: Calls, remaining_s, answer_s) -> Deadline:
    return Deadline(
        remaining_s,
        answer_s=answer_s,
        close=lambda: calls.put_nowait("close"),
        end=lambda: calls.put_nowait("end"),
    )


async def take(calls: Calls) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return await calls.get()


async def test_the_thinking_closes_once_and_then_the_segment_ends(calls):
    start(calls, 0.2, lambda: 0.05)

    assert [await take(calls), await take(calls)] == ["close", "end"]
    assert calls.empty()


async def test_a_deadline_with_time_for_the_answer_only_closes_at_once(calls):
    deadline = start(calls, 1000.0, lambda: 1000.0)

    assert calls.get_nowait() == "close"
    deadline.cancel()


async def test_a_batch_that_slows_down_brings_the_close_forward(calls):
    answer_s = chain([0.0], repeat(1000.0))

    deadline = start(calls, 1.0, lambda: next(answer_s))

    assert await take(calls) == "close"
    assert calls.empty()
    deadline.cancel()


async def test_a_cancelled_deadline_calls_nothing(calls):
    start(calls, 0.05, lambda: 0.01).cancel()
    later_calls = Calls()
    start(later_calls, 0.1, lambda: 0.01)

    assert [await take(later_calls), await take(later_calls)] == ["close", "end"]
    assert calls.empty()
