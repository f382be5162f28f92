"""A worker that stops answering is out within 3 s, with what it runs, and comes back by itself."""

import asyncio
import os
import signal

import pytest

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from tests.router.conftest import DEADLINE_S, eventually, request
from tests.router.small_worker import MODEL
from tests.router.worker_process import running_worker

THOUGHT = 32


@pytest.fixture
def child(redis_url):
    with running_worker(redis_url, hold_at=THOUGHT) as process_and_address:
        yield process_and_address


async def test_what_a_stopped_process_runs_goes_on_elsewhere(start, child):
    process, address = child
    async with start(easy_workers=(address,)) as stack:
        call = stack.stub.ReasonStream(request(), timeout=DEADLINE_S)
        await _has_thought(call)
        os.kill(process.pid, signal.SIGSTOP)
        final = [event async for event in call][-1].final

    (resumed,) = stack.thinking.requests
    assert (len(resumed.thinking_prefix_ids), final.usage.thinking_tokens) == (THOUGHT, 40)
    assert final.decision.pool == POOL_THINKING


async def test_it_is_passed_over_while_it_is_stopped_and_comes_back(start, child):
    process, address = child
    async with start(easy_workers=(address,)) as stack:
        os.kill(process.pid, signal.SIGSTOP)
        await eventually(lambda: _pool_is(stack, POOL_THINKING))
        os.kill(process.pid, signal.SIGCONT)
        await eventually(lambda: _pool_is(stack, POOL_EASY))


async def test_a_worker_that_only_stops_reporting_is_out_with_what_it_runs(start):
    async with start() as stack:
        stack.easy.script.hold_at = THOUGHT
        call = stack.stub.Reason(request(), timeout=DEADLINE_S)
        await stack.easy.holding.wait()
        stack.easy.script.is_silent = True
        reply = await call
        async with asyncio.timeout(DEADLINE_S):
            await stack.easy.cancelled.wait()

        assert stack.counted("ponder.router.failovers") == 1
        assert len(await stack.traces()) == 1
    assert len(stack.thinking.requests[0].thinking_prefix_ids) == THOUGHT
    assert reply.decision.pool == POOL_THINKING


async def test_a_worker_that_says_that_its_engine_hangs_gets_nothing_until_it_goes_on(start):
    async with start() as stack:
        stack.easy.script.is_unwell = True
        await eventually(lambda: _pool_is(stack, POOL_THINKING))
        passed_over = await stack.reason()
        states = [(pool, state.value) for pool, state, num in stack.router.pools.census() if num]
        stack.easy.script.is_unwell = False
        await eventually(lambda: _pool_is(stack, POOL_EASY))
        back = await stack.reason(prompt="Another")

    assert sorted(states) == [(POOL_EASY, "unwell"), (POOL_THINKING, "serving")]
    assert (passed_over.decision.pool, back.decision.pool) == (POOL_THINKING, POOL_EASY)


async def test_leaving_while_the_worker_is_silent_is_no_failover(start):
    async with start() as stack:
        stack.easy.script.hold_at = THOUGHT
        call = stack.stub.Reason(request(), timeout=DEADLINE_S)
        await stack.easy.holding.wait()
        stack.easy.script.is_silent = True
        call.cancel()
        await stack.easy.cancelled.wait()
        await eventually(lambda: _pool_is(stack, POOL_THINKING))

        assert stack.counted("ponder.router.failovers") == 0
    assert stack.thinking.requests == []


async def _has_thought(call) -> None:
    async for event in call:
        if event.progress.thinking_tokens == THOUGHT:
            return
    raise AssertionError("the request ended before it was held")


async def _pool_is(stack, pool) -> bool:
    found = stack.router.pools.find(POOL_EASY, MODEL, 1)
    return bool(found and found[0] == pool)
