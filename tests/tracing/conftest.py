"""A whole stack in one process: a router, two real workers with a tiny model, one span exporter."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ponder import rpc
from ponder.tracing import Tracing
from ponder.v1 import reasoner_pb2_grpc
from router.bootstrap import open_router
from router.config import RouterConfig
from tests.router.conftest import eventually
from tests.workers.tiny_model import save_tiny_model
from workers.config import WorkerConfig
from workers.process import Worker, open_worker

MODEL = "tiny"


@dataclass(frozen=True)
class TracedStack:
    """`client` begins spans as a client with OpenTelemetry does."""

    stub: Any
    client: Tracing
    easy: Worker
    thinking: Worker
    exporter: InMemorySpanExporter
    worker_metrics: InMemoryMetricReader

    async def spans_when(self, is_so: Callable[[list[ReadableSpan]], bool]) -> list[ReadableSpan]:
        """All spans that are over, once they are as awaited: some end after the reply."""

        async def awaited() -> list[ReadableSpan] | None:
            spans = list(self.exporter.get_finished_spans())
            return spans if is_so(spans) else None

        return await eventually(awaited)


StartTraced = Callable[..., AbstractAsyncContextManager[TracedStack]]


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("models") / MODEL
    save_tiny_model(directory)
    return directory


@pytest.fixture
def start(redis_url: str, tiny_dir: Path, tmp_path: Path) -> StartTraced:
    """Starts it; keyword arguments are fields of the router's configuration.

    With a small `easy_max_budget` what is raised goes to the other worker; else it stays.
    """

    @asynccontextmanager
    async def started(easy_max_budget: int = 3_000, **changes: Any) -> AsyncIterator[TracedStack]:
        async with AsyncExitStack() as exits:
            exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()

            def tracers(service: str) -> TracerProvider:
                provider = TracerProvider(resource=Resource.create({"service.name": service}))
                provider.add_span_processor(SimpleSpanProcessor(exporter))
                exits.callback(provider.shutdown)
                return provider

            async def worker(pool: str) -> Worker:
                most = easy_max_budget if pool == "easy" else 3_000
                environment = worker_env(pool, tiny_dir, tmp_path, redis_url, most)
                config = WorkerConfig.from_env(environment)
                meters = MeterProvider([reader] if pool == "thinking" else [])
                exits.callback(meters.shutdown)
                opened = await exits.enter_async_context(
                    open_worker(config, meters, tracers("ponder-worker"))
                )
                await opened.server.start()
                exits.push_async_callback(opened.server.grpc_server.stop, None)
                return opened

            easy, thinking = await worker("easy"), await worker("thinking")
            fields = {"redis_url": redis_url, "spool_dir": str(tmp_path / "spool"), **changes}
            config = RouterConfig(
                listen="127.0.0.1:0",
                easy_workers=(f"127.0.0.1:{easy.server.port}",),
                thinking_workers=(f"127.0.0.1:{thinking.server.port}",),
                classifier=str(tmp_path / "missing.onnx"),
                exploration=0.0,
                **fields,
            )
            router = await exits.enter_async_context(
                open_router(config, MeterProvider(), tracers("ponder-router"))
            )
            await router.server.start()
            exits.push_async_callback(router.server.grpc_server.stop, None)
            await router.prepare()
            address = f"127.0.0.1:{router.server.port}"
            channel = await exits.enter_async_context(rpc.open_channel(address))
            yield TracedStack(
                stub=reasoner_pb2_grpc.ReasonerStub(channel),
                client=Tracing(tracers("a-client")),
                easy=easy,
                thinking=thinking,
                exporter=exporter,
                worker_metrics=reader,
            )

    return started


def worker_env(
    pool: str, model_dir: Path, tmp_path: Path, redis_url: str, max_budget: int
) -> dict[str, str]:
    return {
        "WORKER_MODEL_DIR": str(model_dir),
        "WORKER_POOL": pool,
        "WORKER_LISTEN": "127.0.0.1:0",
        "WORKER_NAME": pool,
        "WORKER_REDIS_URL": redis_url,
        "WORKER_SPOOL_DIR": str(tmp_path / f"spool-{pool}"),
        "WORKER_KV_PAGES": "400",
        "WORKER_MAX_MODEL_LEN": "4096",
        "WORKER_MAX_THINKING_BUDGET": str(max_budget),
        "WORKER_THINKING_CHUNK_TOKENS": "4",
        "WORKER_NOTICE_S": "0",
        "WORKER_GRACE_S": "0",
    }
