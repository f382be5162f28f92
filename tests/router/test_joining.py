"""The same request id while it is under way: run once, settled once, told to everybody who asks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import FINISH_REASON_CANCELLED, FINISH_REASON_STOP
from tests.router.conftest import DEADLINE_S, Stack, request


async def held(stack: Stack) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await stack.easy.holding.wait()


async def joined(stack: Stack) -> tuple[Any, AsyncIterator[pb.ReasonEvent]]:
    """A call that has got its decision, and what comes after it."""
    call = stack.stub.ReasonStream(request(request_id="q-1"), timeout=DEADLINE_S)
    events = aiter(call)
    assert (await anext(events)).HasField("decision")
    return call, events


async def test_both_callers_get_the_reply_of_one_run(start):
    async with start() as stack:
        stack.easy.script.hold_at = 16
        first = asyncio.ensure_future(stack.reason(request_id="q-1"))
        await held(stack)
        _, rest = await joined(stack)
        stack.easy.release.set()
        events = [event async for event in rest]
        traces = await stack.traces()

        assert len(stack.easy.requests) == 1
    assert (await first) == events[-1].final
    assert [e.progress.thinking_tokens for e in events if e.HasField("progress")] == [16, 32, 40]
    assert "".join(event.answer_delta for event in events) == events[-1].final.answer
    assert [(t.request_id, t.usage) for t in traces] == [("q-1", events[-1].final.usage)]


@pytest.mark.parametrize("leaver", [0, 1])
async def test_who_leaves_takes_nothing_from_who_stays(start, leaver):
    async with start() as stack:
        stack.easy.script.hold_at = 16
        callers = [await joined(stack) for _ in range(2)]
        await held(stack)
        callers.pop(leaver)[0].cancel()
        stack.easy.release.set()
        events = [event async for event in callers[0][1]]
        (trace,) = await stack.traces()

    assert events[-1].final.answer
    assert trace.finish_reason == FINISH_REASON_STOP


async def test_when_all_have_left_it_is_cancelled_and_settled(start):
    async with start() as stack:
        stack.easy.script.hold_at = 16
        callers = [await joined(stack) for _ in range(2)]
        await held(stack)
        for call, _ in callers:
            call.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await stack.easy.cancelled.wait()
        (trace,) = await stack.traces_when(1)

    assert trace.finish_reason == FINISH_REASON_CANCELLED


async def test_both_callers_get_the_error_of_one_run(start):
    async with start(max_failovers=0) as stack:
        stack.easy.script.hold_at = 0
        stack.easy.script.die_at = 16
        first = asyncio.ensure_future(stack.refusal(request_id="q-1"))
        await held(stack)
        _, rest = await joined(stack)
        stack.easy.release.set()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in rest:
                pass
        code, details = await first

    assert (caught.value.code(), caught.value.details()) == (code, details)
    assert code == grpc.StatusCode.UNAVAILABLE
