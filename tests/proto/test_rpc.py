"""A real server and real channels: health, drain, hidden exceptions, deadlines."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.interceptors import ActiveCalls, CallGuard
from ponder.v1 import reasoner_pb2, reasoner_pb2_grpc, worker_pb2, worker_pb2_grpc

WORKER = "ponder.v1.Worker"
SECRET = "redis://user:password@host"


class Worker(worker_pb2_grpc.WorkerServicer):
    """Thinks one chunk, then waits for `go_on`; fails with a secret when asked to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def Think(self, request, context):
        yield worker_pb2.ThinkEvent(thinking=worker_pb2.ThinkingChunk(ids=[1]))
        if request.request_id == "fail":
            raise RuntimeError(SECRET)
        if request.request_id == "abort":
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        await self.go_on.wait()
        yield worker_pb2.ThinkEvent(done=worker_pb2.ThinkDone(settled=True))

    async def Watch(self, request, context):
        while True:
            yield worker_pb2.Load()
            await asyncio.Event().wait()


class Reasoner(reasoner_pb2_grpc.ReasonerServicer):
    async def Reason(self, request, context):
        if request.request_id == "deadline":
            return reasoner_pb2.ReasonReply(answer=str(rpc.remaining_s(context, 10.0)))
        if request.request_id == "abort":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "prompt is empty")
        raise RuntimeError(SECRET)

    async def ReasonStream(self, request, context):
        raise NotImplementedError
        yield

    async def Plan(self, request, context):
        raise NotImplementedError

    async def Feedback(self, request, context):
        raise NotImplementedError


def config(**changes) -> rpc.ServerConfig:
    settings: dict[str, Any] = {
        "address": "localhost:0",
        "services": (WORKER,),
        "endless_methods": (f"/{WORKER}/Watch",),
        "notice_s": 0.0,
        "grace_s": 20.0,
    }
    return rpc.ServerConfig(**(settings | changes))


@asynccontextmanager
async def running(**changes):
    server, worker = rpc.RpcServer(config(**changes)), Worker()
    worker_pb2_grpc.add_WorkerServicer_to_server(worker, server.grpc_server)
    reasoner_pb2_grpc.add_ReasonerServicer_to_server(Reasoner(), server.grpc_server)
    await server.start()
    try:
        async with rpc.open_channel(f"localhost:{server.port}") as channel:
            yield server, worker, channel
    finally:
        await server.grpc_server.stop(None)


def health_stub(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)  # Any: the published stubs leave its methods out


async def health_of(channel: grpc.aio.Channel, service: str):
    stub = health_stub(channel)
    reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


async def test_health_is_not_serving_until_ready():
    async with running() as (server, _, channel):
        before = [await health_of(channel, service) for service in ("", WORKER)]
        await server.set_serving()
        after = [await health_of(channel, service) for service in ("", WORKER)]

    assert (before, after) == (["NOT_SERVING"] * 2, ["SERVING"] * 2)


async def test_the_text_of_an_exception_stays_here_for_unary_calls(caplog):
    async with running() as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reasoner_pb2_grpc.ReasonerStub(channel).Reason(reasoner_pb2.ReasonRequest())

    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert SECRET not in str(caught.value)
    assert SECRET in caplog.text


async def test_the_text_of_an_exception_stays_here_for_streams(caplog):
    async with running() as (_, _, channel):
        call = worker_pb2_grpc.WorkerStub(channel).Think(worker_pb2.ThinkRequest(request_id="fail"))
        assert (await call.read()).thinking.ids == [1]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()

    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert SECRET not in str(caught.value)
    assert SECRET in caplog.text


async def test_an_abort_keeps_its_code_and_message():
    async with running() as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await reasoner_pb2_grpc.ReasonerStub(channel).Reason(
                reasoner_pb2.ReasonRequest(request_id="abort")
            )
        request = worker_pb2.ThinkRequest(request_id="abort")
        with pytest.raises(grpc.aio.AioRpcError) as stream:
            async for _ in worker_pb2_grpc.WorkerStub(channel).Think(request):
                pass

    assert (unary.value.code(), unary.value.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "prompt is empty",
    )
    assert stream.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_drain_lets_streams_finish_and_does_not_wait_for_endless_ones():
    async with running() as (server, worker, channel):
        stub = worker_pb2_grpc.WorkerStub(channel)
        calls = [stub.Think(worker_pb2.ThinkRequest()) for _ in range(20)]
        for call in calls:
            await call.read()
        watch = stub.Watch(worker_pb2.WatchRequest())
        health = health_stub(channel).Watch(health_pb2.HealthCheckRequest())
        await server.set_serving()
        await asyncio.gather(watch.read(), health.read())

        draining = asyncio.create_task(server.drain())
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        worker.go_on.set()
        ends = [await call.read() for call in calls]
        async with asyncio.timeout(10):
            await draining

        assert all(end.done.settled for end in ends)
        assert [await call.code() for call in calls] == [grpc.StatusCode.OK] * 20


async def test_a_hurried_drain_cancels_what_runs():
    async with running() as (server, _, channel):
        call = worker_pb2_grpc.WorkerStub(channel).Think(worker_pb2.ThinkRequest())
        await call.read()
        hurry = asyncio.Event()
        draining = asyncio.create_task(server.drain(hurry))

        hurry.set()

        async with asyncio.timeout(10):
            await draining
        assert await call.code() != grpc.StatusCode.OK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_is_ready_then_drains_on_a_signal(number: signal.Signals):
    server, loaded = rpc.RpcServer(config()), asyncio.Event()
    serving = asyncio.create_task(rpc.serve(server, loaded.wait()))
    async with rpc.open_channel(f"localhost:{server.port}") as channel:
        watch = health_stub(channel).Watch(
            health_pb2.HealthCheckRequest(service=WORKER), wait_for_ready=True
        )
        statuses = [(await watch.read()).status]
        loaded.set()
        statuses.append((await watch.read()).status)
        os.kill(os.getpid(), number)
        statuses.append((await watch.read()).status)
        async with asyncio.timeout(10):
            await serving

    reply = health_pb2.HealthCheckResponse
    assert statuses == [reply.NOT_SERVING, reply.SERVING, reply.NOT_SERVING]


async def test_serve_passes_on_why_it_could_not_get_ready():
    async def load() -> None:
        raise OSError("no checkpoint")

    with pytest.raises(OSError, match="no checkpoint"):
        await rpc.serve(rpc.RpcServer(config()), load())


async def test_a_signal_while_loading_stops_the_loading():
    server = rpc.RpcServer(config())
    serving = asyncio.create_task(rpc.serve(server, asyncio.Event().wait()))
    async with rpc.open_channel(f"localhost:{server.port}") as channel:
        await channel.channel_ready()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await serving


async def test_an_idle_stream_survives_the_keepalive_pings():
    async with running() as (_, worker, channel):
        call = worker_pb2_grpc.WorkerStub(channel).Think(worker_pb2.ThinkRequest())
        await call.read()

        # Pings that the server finds too frequent end the connection at the third.
        await asyncio.sleep(3.5 * rpc.KEEPALIVE_MS / 1000)

        worker.go_on.set()
        assert (await call.read()).done.settled


SERVER_PROGRAM = """
import asyncio
from ponder import rpc
async def main():
    server = rpc.RpcServer(rpc.ServerConfig(address="localhost:0", services=("ponder.v1.Worker",)))
    print(server.port, flush=True)
    await rpc.serve(server)
asyncio.run(main())
"""


@pytest.fixture
def server_process():
    command = [sys.executable, "-c", SERVER_PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


async def test_a_hung_server_is_noticed_long_before_the_default_minute(server_process):
    process, port = server_process
    async with rpc.open_channel(f"localhost:{port}") as channel:
        watch = health_stub(channel).Watch(
            health_pb2.HealthCheckRequest(service=WORKER), wait_for_ready=True
        )
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        process.send_signal(signal.SIGSTOP)

        async with asyncio.timeout(30):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()

    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_port_in_use_is_one_clear_error():
    async with running() as (server, _, _):
        address = f"localhost:{server.port}"
        with pytest.raises(rpc.BindError, match=address):
            rpc.RpcServer(config(address=address))


async def test_reflection_is_off_unless_asked_for():
    async def list_services(channel):
        # One message with the call: a stream may meet the refusal while it still sends.
        method = channel.unary_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        return [reply async for reply in method(b"\x3a\x00")]

    async with running(reflection=True) as (_, _, channel):
        assert WORKER.encode() in (await list_services(channel))[0]
    async with running() as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await list_services(channel)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_the_deadline_is_passed_on_less_a_margin():
    request = reasoner_pb2.ReasonRequest(request_id="deadline")
    async with running() as (_, _, channel):
        stub = reasoner_pb2_grpc.ReasonerStub(channel)
        left_s = [(await stub.Reason(request, timeout=timeout)).answer for timeout in (60, None)]

    assert 30 < float(left_s[0]) < 55  # gRPC rounds a deadline up on the wire
    assert left_s[1] == "None"


@pytest.mark.parametrize("method", [f"/{WORKER}/Think", "/ponder.v1.Reasoner/Reason"])
async def test_bytes_that_are_no_message_are_the_callers_fault(method):
    async with running() as (_, _, channel):
        call = channel.stream_stream(method)(iter([b"\x0a\x02\xff\xff"]), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [reply async for reply in call]

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in (caught.value.details() or "")


async def test_a_caller_that_left_before_its_status_is_no_fault_of_the_handler(caplog):
    context = LeftCaller()

    async def refuse(request, context):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "prompt is empty")

    await CallGuard(ActiveCalls(frozenset()))._guard(refuse, "/method")(None, context)

    assert context.num_aborts == 1
    assert not caplog.records


class LeftCaller:
    """What gRPC's context does when there is nobody left to tell the status."""

    num_aborts = 0

    async def abort(self, code, details):
        self.num_aborts += 1
        raise grpc.aio.InternalError("Failed execute_batch")
