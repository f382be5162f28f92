"""The child processes of one stack together: start and stop in order, notice when one dies.

Knows nothing of what the processes are; ponder/cli/stack.py does.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.cli.child import Child, ChildSpec, LineSink

T = TypeVar("T")

# gRPC waits a second before it tries again; a child that starts is asked more often.
_RECONNECT_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
)
_POLL_S = 0.1


class Supervisor:
    """Runs children in stages. The last stage starts first; a stage starts when the one after it
    serves, and stops before it: nobody ever misses the one that it calls.

    An async context manager: whatever happens inside, no child outlives it. Use it in the main
    thread: the kernel stops the children when the thread that started them ends.
    """

    def __init__(self, stages: Sequence[Sequence[ChildSpec]], on_line: LineSink) -> None:
        self._stages = stages
        self._on_line = on_line
        self._running: list[list[Child]] = []

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that were started."""
        return [child.pid for child in self._children()]

    async def start(self) -> None:
        """Returns when every child serves. Raises ChildExited when one ends before."""
        for specs in reversed(self._stages):
            children: list[Child] = []
            self._running.insert(0, children)
            for spec in specs:
                children.append(await Child.start(spec, self._on_line))
            addresses = [spec.address for spec in specs if spec.address is not None]
            await self.guard(asyncio.gather(*map(wait_until_serving, addresses)))

    async def guard(self, work: Awaitable[T]) -> T:
        """Returns what `work` returns. Raises ChildExited, and cancels it, when a child ends."""
        exits = [child.raise_when_exited() for child in self._children()]
        return await first_of(work, *exits)

    def hurry(self) -> None:
        """Tells children that are stopping not to finish what they do."""
        for child in self._children():
            child.terminate()

    async def stop(self) -> None:
        """Stops stage after stage; returns when every child has ended."""
        for children in self._running:
            await asyncio.gather(*(child.stop() for child in children))

    def _children(self) -> list[Child]:
        return [child for children in self._running for child in children]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


async def first_of(work: Awaitable[T], *others: Awaitable[object]) -> T:
    """Returns what `work` returns, or raises what any of them raises first; cancels the rest.

    The others only ever raise.
    """
    main = asyncio.ensure_future(work)
    tasks = [main, *map(asyncio.ensure_future, others)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return await main
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_until_serving(address: str) -> None:
    options = (*rpc.channel_options(), *_RECONNECT_OPTIONS)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # its stubs leave out the methods
        while True:
            if await _says_serving(health):
                return
            await asyncio.sleep(_POLL_S)


async def _says_serving(health: Any) -> bool:
    try:
        reply = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
    except grpc.aio.AioRpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
