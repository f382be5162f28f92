"""The front door on a real socket, before the router and the workers of tests/router."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from router.openai.config import DoorConfig
from router.openai.router_client import open_channel
from router.openai.server import DoorServer, bind, build_server
from tests.router.conftest import DEADLINE_S, StartStack
from tests.router.conftest import Stack as RouterStack

QUESTION: list[Any] = [{"role": "user", "content": "What is 2 + 2?"}]


@dataclass(frozen=True)
class Door:
    """`client` is the official one; `stack` is what runs behind the door."""

    url: str
    client: openai.AsyncOpenAI
    stack: RouterStack

    async def complete(self, **fields: Any) -> Any:
        """Extra fields go into the body as they are."""
        named = {"model": "small", "messages": QUESTION, **fields}
        return await self.client.chat.completions.create(**named)


StartDoor = Callable[..., AbstractAsyncContextManager[Door]]


@asynccontextmanager
async def serving_door(config: DoorConfig) -> AsyncIterator[tuple[str, DoorServer]]:
    """Its base URL. The door stops as after SIGTERM."""
    listening = bind("127.0.0.1:0")
    async with open_channel(config.router) as channel:
        server = build_server(config, channel)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", server
        finally:
            server.stop()
            await serving


def client_of(url: str, **options: Any) -> openai.AsyncOpenAI:
    """Without retries, so that a test sees what the door says."""
    named = {"api_key": "any", "max_retries": 0, "timeout": DEADLINE_S, **options}
    return openai.AsyncOpenAI(base_url=f"{url}/v1", **named)


@pytest.fixture
def start_door(start: StartStack) -> StartDoor:
    """Starts everything; `door` and `client` are options of these, the rest is the router's."""

    @asynccontextmanager
    async def started(
        door: dict[str, Any] | None = None, client: dict[str, Any] | None = None, **changes: Any
    ) -> AsyncIterator[Door]:
        async with start(**changes) as stack:
            config = DoorConfig(router=f"127.0.0.1:{stack.router.server.port}", **(door or {}))
            async with (
                serving_door(config) as (url, _),
                client_of(url, **(client or {})) as asking,
            ):
                yield Door(url=url, client=asking, stack=stack)

    return started


@pytest.fixture
def unused_address() -> Iterator[str]:
    """Bound and not listened on: nobody answers there, and nobody else can take it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"
