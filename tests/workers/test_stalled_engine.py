"""A worker whose engine hangs says so by health and load, and comes back when it goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.v1 import worker_pb2, worker_pb2_grpc
from tests.workers.conftest import RunningWorker
from tests.workers.engine.sabotage import Sabotage
from workers.config import WorkerConfig
from workers.process import _serve, open_worker

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
DEADLINE_S = 60


class Hang:
    """A step that takes until it is let go on."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, run: int, plan: Any, logprobs: Any) -> None:
        if run == 3:
            self.has_begun.set()
            self.may_end.wait(DEADLINE_S)


@asynccontextmanager
async def served(env: dict[str, str]) -> AsyncIterator[tuple[RunningWorker, Any]]:
    """A worker as its process runs it, and its health service."""
    async with open_worker(WorkerConfig.from_env(env)) as parts:
        serving = asyncio.create_task(_serve(parts))
        async with rpc.open_channel(f"127.0.0.1:{parts.server.port}") as channel:
            stub = worker_pb2_grpc.WorkerStub(channel)
            yield RunningWorker(parts, stub), health_pb2_grpc.HealthStub(channel)
        serving.cancel()
        await asyncio.wait([serving])


async def health_when(stub: Any, status: int) -> None:
    """Returns when the worker's health is as awaited."""
    request = health_pb2.HealthCheckRequest(service="ponder.v1.Worker")
    async with asyncio.timeout(DEADLINE_S):
        async for reply in stub.Watch(request, wait_for_ready=True):
            if reply.status == status:
                return


@asynccontextmanager
async def hung(env: dict[str, str], request: Any) -> AsyncIterator[Any]:
    """A worker whose engine hangs in a step of the request, its health, the call, and the hang."""
    hang = Hang()
    async with served(env | {"WORKER_STEP_PATIENCE_S": "0.2"}) as (worker, health):
        await health_when(health, SERVING)
        Sabotage(worker.parts.engine._engine, hang)  # type: ignore[attr-defined]
        thinking = asyncio.ensure_future(worker.think(request))
        try:
            await asyncio.to_thread(hang.has_begun.wait, DEADLINE_S)
            yield worker, health, thinking, hang
        finally:
            hang.may_end.set()


async def test_a_hung_engine_takes_its_worker_out_until_it_goes_on(worker_env, make_request):
    async with hung(worker_env, make_request()) as (worker, health, thinking, hang):
        await health_when(health, NOT_SERVING)
        stalled = await worker.load_when(lambda load: load.is_unwell)
        assert stalled.running == 1

        hang.may_end.set()
        reply = await thinking
        await health_when(health, SERVING)
        await worker.load_when(lambda load: not load.is_unwell)

    assert reply.answer


async def test_it_stays_out_when_all_who_waited_have_left(worker_env, make_request):
    """Else it would look idle, and the next request would hang too."""
    async with hung(worker_env, make_request()) as (worker, health, thinking, hang):
        thinking.cancel()
        await health_when(health, NOT_SERVING)

        hang.may_end.set()
        await health_when(health, SERVING)
        assert (await worker.think(make_request(request_id="request-2"))).answer


@pytest.mark.parametrize("num_requests", [1, 5])
async def test_work_that_gets_on_is_never_unwell(start_worker, make_request, num_requests):
    worker = await start_worker(step_patience_s=1.0)
    watch = worker.stub.Watch(worker_pb2.WatchRequest(), timeout=DEADLINE_S)
    requests = [
        make_request(request_id=f"r{number}", thinking_budget=200) for number in range(num_requests)
    ]
    thinking = asyncio.gather(*(worker.think(request) for request in requests))
    while not thinking.done():
        assert not (await watch.read()).is_unwell
    watch.cancel()
