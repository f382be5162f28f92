"""A door that is told to stop lets running requests end, for as long as its grace."""

import asyncio
from contextlib import AsyncExitStack

import openai
import pytest

from router.openai.config import DoorConfig
from tests.router.openai.conftest import QUESTION, client_of, serving_door

DEADLINE_S = 10


def config_for(stack, **fields) -> DoorConfig:
    return DoorConfig(router=f"127.0.0.1:{stack.router.server.port}", **fields)


async def begin(client, stack):
    """A stream whose worker waits in the middle of its thinking."""
    stack.easy.script.hold_at = 32
    stream = await client.chat.completions.create(model="small", messages=QUESTION, stream=True)
    await stack.easy.holding.wait()
    return stream


async def ask_on(client) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            await client.models.list()


async def test_a_running_stream_comes_to_its_end_and_no_new_one_is_taken(start):
    async with (
        start() as stack,
        serving_door(config_for(stack)) as (url, server),
        client_of(url) as client,
        client_of(url) as late,
    ):
        stream = await begin(client, stack)
        server.stop()
        with pytest.raises(openai.APIConnectionError):
            await ask_on(late)
        stack.easy.release.set()
        chunks = [chunk async for chunk in stream]

    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_what_outlives_the_grace_is_given_up(start):
    async with (
        start() as stack,
        serving_door(config_for(stack, drain_grace_s=0)) as (url, server),
        client_of(url) as client,
    ):
        await begin(client, stack)
        server.stop()
        async with asyncio.timeout(DEADLINE_S):
            await stack.easy.cancelled.wait()


async def test_a_second_stop_does_not_wait_for_the_grace(start):
    async with start() as stack, AsyncExitStack() as open_clients:
        async with serving_door(config_for(stack, drain_grace_s=3_600)) as (url, server):
            client = await open_clients.enter_async_context(client_of(url))
            await begin(client, stack)
            server.stop()
            server.stop()
        async with asyncio.timeout(DEADLINE_S):
            await stack.easy.cancelled.wait()
