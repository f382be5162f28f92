"""A client that leaves takes its work with it: the worker stops, and settles what was spent."""

import asyncio
import json
import time

import pytest

from ponder.v1.budget_pb2 import FINISH_REASON_CANCELLED
from router.openai.router_client import Caller, RouterClient
from tests.router.conftest import request
from tests.router.openai.raw_http import CHAT, connect, request_bytes

DEADLINE_S = 10


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("hold_at", [0, 32], ids=["before the first token", "while it thinks"])
async def test_leaving_cancels_the_worker_which_settles(start_door, is_stream, hold_at):
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": is_stream}
    async with start_door() as door:
        door.stack.easy.script.hold_at = hold_at
        _, writer = await connect(door.url)
        writer.write(request_bytes(CHAT, json.dumps(body).encode()))
        await door.stack.easy.holding.wait()
        writer.close()
        async with asyncio.timeout(DEADLINE_S):
            await door.stack.easy.cancelled.wait()
        (trace,) = await door.stack.traces_when(1)

    assert (trace.finish_reason, trace.usage.thinking_tokens) == (FINISH_REASON_CANCELLED, hold_at)


async def test_the_official_client_closing_a_stream_cancels_the_worker(start_door):
    async with start_door() as door:
        door.stack.easy.script.hold_at = 32
        stream = await door.complete(stream=True)
        await door.stack.easy.holding.wait()
        await stream.close()
        async with asyncio.timeout(DEADLINE_S):
            await door.stack.easy.cancelled.wait()


async def test_a_stream_that_is_closed_between_two_events_ends_its_call(start_door):
    async with start_door() as door:
        door.stack.easy.script.hold_at = 32
        router = RouterClient(door.stack.channel, retry_after_s=1)
        caller = Caller(authorization=None, deadline_at_s=time.monotonic() + DEADLINE_S)
        events = router.stream(request(), caller)
        await anext(events)
        await door.stack.easy.holding.wait()
        await events.aclose()
        async with asyncio.timeout(DEADLINE_S):
            await door.stack.easy.cancelled.wait()


async def test_leaving_in_the_middle_of_the_body_asks_nobody(start_door):
    async with start_door() as door:
        _, writer = await connect(door.url)
        writer.write(request_bytes(CHAT, b'{"messages"', length="content-length: 99"))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await door.complete()

        assert len(door.stack.easy.requests) == 1
