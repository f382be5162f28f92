"""When the caller leaves, its work ends and what was spent is settled."""

import asyncio

import grpc
import pytest

from ponder.v1.budget_pb2 import FINISH_REASON_CANCELLED, THINKING_STOP_CANCELLED
from tests.router.conftest import request


@pytest.mark.parametrize("method", ["Reason", "ReasonStream"])
async def test_leaving_cancels_the_worker_which_settles(start, method):
    async with start() as stack:
        stack.easy.script.hold_at = 32
        call = getattr(stack.stub, method)(request(request_id="q-1"))
        await stack.easy.holding.wait()
        call.cancel()
        async with asyncio.timeout(10):
            await stack.easy.cancelled.wait()
        (trace,) = await stack.traces_when(1)

    assert (trace.worker, trace.usage.thinking_tokens) == ("easy", 32)
    assert (trace.stop, trace.finish_reason) == (THINKING_STOP_CANCELLED, FINISH_REASON_CANCELLED)


async def test_leaving_after_an_escalation_settles_both_segments_once(start):
    async with start() as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.need = lambda request: 900
        stack.thinking.script.hold_at = 600
        call = stack.stub.ReasonStream(request(request_id="q-1"))
        # Progress of the second segment: the router knows that its worker took it.
        async for event in call:
            if event.progress.segment == 1:
                break
        await stack.thinking.holding.wait()
        call.cancel()
        (trace,) = await stack.traces_when(1)

    assert (trace.worker, trace.usage.escalations) == ("thinking", 1)
    assert trace.usage.thinking_tokens >= 600


async def test_the_request_id_is_free_again(start):
    async with start() as stack:
        stack.easy.script.hold_at = 32
        call = stack.stub.Reason(request(request_id="q-1"))
        await stack.easy.holding.wait()
        call.cancel()
        await stack.easy.cancelled.wait()
        stack.easy.script.hold_at = None
        reply = await stack.reason(request_id="q-1")

    assert reply.answer


async def test_the_deadline_travels_to_the_worker(start):
    async with start() as stack:
        stack.easy.script.hold_at = 32
        call = stack.stub.Reason(request(), timeout=0.5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        async with asyncio.timeout(10):
            await stack.easy.cancelled.wait()

    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
