"""A whole router: its gRPC server, two small workers on real sockets, a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import grpc
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from classifier.dataset import Dataset
from classifier.export import export
from classifier.train import train
from ponder import rpc
from ponder.embedded_redis import EmbeddedRedis
from ponder.ledger import Ledger, LedgerConfig
from ponder.settlement import Settlement
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1 import reasoner_pb2_grpc
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from router.bootstrap import Router, open_router
from router.config import RouterConfig
from tests.classifier.oracle import ask
from tests.router.small_worker import MODEL, SmallWorker, serving

DEADLINE_S = 20
T = TypeVar("T")


@dataclass(frozen=True)
class Stack:
    """The running parts, and a client's view of them."""

    router: Router
    easy: SmallWorker
    thinking: SmallWorker
    easy_server: grpc.aio.Server
    thinking_server: grpc.aio.Server
    ledger: Ledger
    stub: Any  # the generated stub types only its blocking form
    channel: grpc.aio.Channel
    metrics: InMemoryMetricReader
    spans: InMemorySpanExporter

    async def reason(self, **fields: Any) -> pb.ReasonReply:
        reply: pb.ReasonReply = await self.stub.Reason(request(**fields), timeout=DEADLINE_S)
        return reply

    async def plan(self, **fields: Any) -> pb.Decision:
        planned = pb.PlanRequest(request=request(**fields))
        reply: pb.PlanReply = await self.stub.Plan(planned, timeout=DEADLINE_S)
        return reply.decision

    async def stream(self, **fields: Any) -> list[pb.ReasonEvent]:
        call = self.stub.ReasonStream(request(**fields), timeout=DEADLINE_S)
        return [event async for event in call]

    async def refusal(self, **fields: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.reason(**fields)
        return caught.value.code(), caught.value.details() or ""

    async def traces(self) -> list[Settlement]:
        return [trace async for _, trace in self.ledger.read_traces(MODEL)]

    async def traces_when(self, num_traces: int) -> list[Settlement]:
        """Settlements of requests that ended without a reply arrive a little later."""

        async def enough() -> list[Settlement] | None:
            traces = await self.traces()
            return traces if len(traces) >= num_traces else None

        return await eventually(enough)

    async def plan_when(self, is_so: Callable[[pb.Decision], bool], **fields: Any) -> pb.Decision:
        """The first decision that is as awaited: background work may take a moment to show."""

        async def awaited() -> pb.Decision | None:
            decision = await self.plan(**fields)
            return decision if is_so(decision) else None

        return await eventually(awaited)

    def counted(self, metric: str, **labels: str) -> float:
        """Sum of a counter over all points with these labels."""
        data = self.metrics.get_metrics_data()
        points = (
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        )
        return sum(
            point.value
            for point in points
            if isinstance(point, NumberDataPoint)
            and labels.items() <= dict(point.attributes or {}).items()
        )


StartStack = Callable[..., AbstractAsyncContextManager[Stack]]


async def eventually(probe: Callable[[], Awaitable[T | None]]) -> T:
    """The first true result, for states of other processes that nothing announces."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if found := await probe():
                return found
            await asyncio.sleep(0.01)


def request(**fields: Any) -> pb.ReasonRequest:
    if "prompt" not in fields and "messages" not in fields:
        fields["prompt"] = "What is 2 + 2?"
    return pb.ReasonRequest(**fields)


@pytest.fixture(scope="session")
def classifier_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real one, trained on few rows."""
    rng = Random(7)
    dataset = Dataset.of(ask(rng).outcome() for _ in range(800))
    path = tmp_path_factory.mktemp("router") / "difficulty.onnx"
    path.write_bytes(
        export(train(dataset, lambda line: None), "oracle", len(dataset.split("train")))
    )
    return path


@pytest.fixture
def config(redis_url: str, tmp_path: Path) -> RouterConfig:
    """Without a classifier: automatic requests get the default tier. No exploration."""
    return RouterConfig(
        listen="127.0.0.1:0",
        easy_workers=(),
        thinking_workers=("127.0.0.1:1",),
        redis_url=redis_url,
        redis_wait_s=0.0,
        spool_dir=str(tmp_path / "spool"),
        classifier=str(tmp_path / "missing.onnx"),
        refresh_interval_s=0.02,
        exploration=0.0,
    )


@pytest.fixture
def start(config: RouterConfig) -> StartStack:
    """Starts router and workers; keyword arguments replace fields of the configuration.

    Where they name workers of the easy pool, the one of the stack is not used.
    """

    @asynccontextmanager
    async def started(**changes: Any) -> AsyncIterator[Stack]:
        async with AsyncExitStack() as exits:
            yield await _start(replace(config, **changes), exits)

    return started


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis that the test may kill."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


async def _start(config: RouterConfig, exits: AsyncExitStack) -> Stack:
    ledger = Ledger.from_url(config.redis_url, LedgerConfig(timeout_s=20))
    exits.push_async_callback(ledger.close)
    easy, thinking = SmallWorker("easy", ledger), SmallWorker("thinking", ledger)
    easy_server, easy_port = await exits.enter_async_context(serving(easy))
    thinking_server, thinking_port = await exits.enter_async_context(serving(thinking))
    config = replace(
        config,
        easy_workers=config.easy_workers or (f"127.0.0.1:{easy_port}",),
        thinking_workers=(f"127.0.0.1:{thinking_port}",),
    )
    metrics = InMemoryMetricReader()
    meters = MeterProvider([metrics])
    exits.callback(meters.shutdown)
    spans = InMemorySpanExporter()
    tracers = TracerProvider(resource=Resource.create({"service.name": "ponder-router"}))
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    exits.callback(tracers.shutdown)
    router = await exits.enter_async_context(open_router(config, meters, tracers))
    await router.server.start()
    exits.push_async_callback(router.server.grpc_server.stop, None)
    channel = await exits.enter_async_context(rpc.open_channel(f"127.0.0.1:{router.server.port}"))
    await _workers_are_known(router)
    return Stack(
        router=router,
        easy=easy,
        thinking=thinking,
        easy_server=easy_server,
        thinking_server=thinking_server,
        ledger=ledger,
        stub=reasoner_pb2_grpc.ReasonerStub(channel),
        channel=channel,
        metrics=metrics,
        spans=spans,
    )


async def _workers_are_known(router: Router) -> None:
    async def known() -> bool:
        found = [router.pools.find(pool, MODEL, 1) for pool in (POOL_EASY, POOL_THINKING)]
        return [pool for pool, _ in filter(None, found)] == [POOL_EASY, POOL_THINKING]

    await eventually(known)
