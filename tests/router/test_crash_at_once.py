"""A worker that crashes as soon as it has a segment has crashed under it."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from random import Random

import grpc
import pytest

from ponder import rpc
from ponder.v1 import worker_pb2, worker_pb2_grpc
from router.worker_link import WorkerLink
from router.worker_loss import Connection, WorkerLost
from tests.router.conftest import DEADLINE_S, eventually
from tests.router.worker_process import running_worker


async def think(link: WorkerLink) -> None:
    events = link.think(worker_pb2.ThinkRequest(), DEADLINE_S, lambda: None)
    async with aclosing(events):
        async for _ in events:
            pass


async def test_a_process_that_ends_before_it_can_say_anything(redis_url):
    with running_worker(redis_url, crash=True) as (process, address):
        link = WorkerLink(address, Random(0))
        watching = asyncio.create_task(link.watch(lambda: None))
        await eventually(lambda: _is_alive(link))
        with pytest.raises(WorkerLost) as caught:
            await think(link)
        assert process.wait(DEADLINE_S) == 1

        # Now it is not there any more, and nothing crashes under who tries.
        with pytest.raises(WorkerLost) as later:
            await think(link)
        watching.cancel()
        await link.close()

    assert caught.value.is_crash
    assert not later.value.is_crash


async def _is_alive(link: WorkerLink) -> bool:
    return link.is_alive


class Failing(worker_pb2_grpc.WorkerServicer):
    """In a thread of its own, so that it gets on while the router's event loop does something else.
    `has_ended`: the call's failure is on its way.
    """

    def __init__(self, *, accepts: bool) -> None:
        self.accepts = accepts
        self.has_ended = threading.Event()

    def Think(
        self, request: worker_pb2.ThinkRequest, context: grpc.ServicerContext
    ) -> Iterator[worker_pb2.ThinkEvent]:
        context.add_callback(self.has_ended.set)
        if self.accepts:
            context.set_trailing_metadata((rpc.ACCEPTED,))
            context.send_initial_metadata(())
        context.abort(grpc.StatusCode.UNAVAILABLE, "the engine has stopped")
        yield worker_pb2.ThinkEvent()

    def Watch(
        self, request: worker_pb2.WatchRequest, context: grpc.ServicerContext
    ) -> Iterator[worker_pb2.Load]:
        yield worker_pb2.Load()


@contextmanager
def serving(worker: Failing) -> Iterator[str]:
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        worker_pb2_grpc.add_WorkerServicer_to_server(worker, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.mark.parametrize("accepts", [True, False])
async def test_an_engine_that_fails_before_the_router_has_looked(accepts):
    worker = Failing(accepts=accepts)
    with serving(worker) as address:
        link = WorkerLink(address, Random(0))
        thinking = asyncio.ensure_future(think(link))
        while not worker.has_ended.is_set():
            # Lets the call begin, and then nothing be looked at until it has failed.
            await asyncio.sleep(0)
            worker.has_ended.wait(0.01)
        with pytest.raises(WorkerLost) as caught:
            await thinking
        await link.close()

    assert caught.value.is_crash == accepts


async def test_nobody_else_is_sent_there_while_that_is_found_out(monkeypatch):
    """Else a fleet that fails every call would be asked more often for each request."""
    was_alive = []

    async def was_lost(_: Connection) -> bool:
        was_alive.append(link.is_alive)
        return False

    monkeypatch.setattr(Connection, "was_lost", was_lost)
    with serving(Failing(accepts=False)) as address:
        link = WorkerLink(address, Random(0))
        link.load = worker_pb2.Load()
        with pytest.raises(WorkerLost):
            await think(link)
        await link.close()

    assert was_alive == [False]


async def test_a_request_that_two_workers_crash_with_at_once_is_quarantined(start, redis_url):
    with (
        running_worker(redis_url, crash=True) as (_, one),
        running_worker(redis_url, crash=True) as (_, other),
    ):
        async with start(easy_workers=(one, other)) as stack:
            links = list(stack.router.pools.links())
            await stack.plan_when(lambda _: all(link.takes_requests for link in links))
            code, message = await stack.refusal(prompt="Poison")

            assert stack.thinking.requests == []
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "2 workers crashed" in message
