"""A real worker: gRPC server, engine on a tiny random model, ledger on a real Redis."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from ponder import rpc
from ponder.bins import NUM_NEED_BINS
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.v1 import budget_pb2, reasoner_pb2, worker_pb2, worker_pb2_grpc
from tests.workers.tiny_model import save_tiny_model
from workers.config import WorkerConfig
from workers.process import Worker, open_worker

MODEL, TENANT = "tiny", "tenant-1"


@dataclass
class Reply:
    """Everything one Think call sent."""

    thinking_ids: list[int] = field(default_factory=list)
    thinking_text: str = ""
    answer: str = ""
    num_answer_tokens: int = 0
    done: worker_pb2.ThinkDone = field(default_factory=worker_pb2.ThinkDone)

    def add(self, event: worker_pb2.ThinkEvent) -> None:
        self.thinking_ids.extend(event.thinking.ids)
        self.thinking_text += event.thinking.text
        self.answer += event.answer.text
        self.num_answer_tokens += event.answer.num_tokens
        if event.HasField("done"):
            self.done = event.done


@dataclass(frozen=True)
class RunningWorker:
    """A worker and a client of it."""

    parts: Worker
    stub: Any  # the generated stub types only its blocking form

    @property
    def ledger(self) -> Ledger:
        return self.parts.ledger

    async def think(self, request: worker_pb2.ThinkRequest) -> Reply:
        reply = Reply()
        async for event in self.stub.Think(request, timeout=60):
            reply.add(event)
        return reply

    async def refusal(self, request: worker_pb2.ThinkRequest) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.think(request)
        return caught.value.code(), caught.value.details() or ""

    async def status_of(self, call: Any) -> tuple[grpc.StatusCode, str]:
        """Reads a call to its end and returns how that was."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() != grpc.aio.EOF:
                pass
        return await call.code(), await call.details()

    async def load_when(self, is_so: Callable[[worker_pb2.Load], bool]) -> Any:
        """The first reported load that is as awaited."""
        watch = self.stub.Watch(worker_pb2.WatchRequest(), timeout=60)
        load = await watch.read()
        while not is_so(load):
            load = await watch.read()
        watch.cancel()
        return load

    async def traces(self) -> list[Settlement]:
        return [trace async for _, trace in self.ledger.read_traces(MODEL)]


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    directory = tmp_path_factory.mktemp("models") / MODEL
    save_tiny_model(directory)
    return directory


@pytest.fixture
def worker_env(tiny_dir: Path, tmp_path: Path, redis_url: str) -> dict[str, str]:
    """The environment of a worker on any free port."""
    return {
        "WORKER_MODEL_DIR": str(tiny_dir),
        "WORKER_LISTEN": "127.0.0.1:0",
        "WORKER_NAME": "worker-1",
        "WORKER_REDIS_URL": redis_url,
        "WORKER_SPOOL_DIR": str(tmp_path / "spool"),
        "WORKER_KV_PAGES": "400",
        "WORKER_MAX_MODEL_LEN": "4096",
        "WORKER_MAX_ANSWER_TOKENS": "64",
        "WORKER_MAX_THINKING_BUDGET": "3000",
        "WORKER_WRAP_UP_TEXT": "So:",
        "WORKER_THINKING_CHUNK_TOKENS": "4",
        "WORKER_NOTICE_S": "0",
    }


StartWorker = Callable[..., Awaitable[RunningWorker]]


@pytest.fixture
async def start_worker(worker_env: dict[str, str]) -> AsyncIterator[StartWorker]:
    """Starts workers whose variables, without their prefix, are given as keywords."""
    async with AsyncExitStack() as stack:

        async def start(**variables: Any) -> RunningWorker:
            changes = {f"WORKER_{name.upper()}": str(value) for name, value in variables.items()}
            config = WorkerConfig.from_env(worker_env | changes)
            return await stack.enter_async_context(_running(config))

        yield start


@asynccontextmanager
async def _running(config: WorkerConfig) -> AsyncIterator[RunningWorker]:
    async with open_worker(config) as parts:
        await parts.server.start()
        async with rpc.open_channel(f"127.0.0.1:{parts.server.port}") as channel:
            yield RunningWorker(parts, worker_pb2_grpc.WorkerStub(channel))
        await parts.server.drain()


@pytest.fixture
def running() -> Callable[[WorkerConfig], AbstractAsyncContextManager[RunningWorker]]:
    """Runs a worker for the length of a block."""
    return _running


@pytest.fixture
async def worker(start_worker: StartWorker) -> RunningWorker:
    return await start_worker()


@pytest.fixture
def make_request() -> Callable[..., worker_pb2.ThinkRequest]:
    """A greedy request; keywords override, `settlement` by a dict of its fields."""

    def make(settlement: dict[str, Any] | None = None, **changes) -> worker_pb2.ThinkRequest:
        fields: dict[str, Any] = {
            "request_id": "request-1",
            "model": MODEL,
            "prompt": "Reach 24 from 3, 5, 6 and 8.",
            "thinking_budget": 20,
            "max_answer_tokens": 8,
            "sampling": budget_pb2.Sampling(seed=1),
            "answer_on_exhaustion": True,
            "settlement": worker_pb2.Settlement(**(_SETTLEMENT | (settlement or {}))),
        }
        if "messages" in changes:
            fields.pop("prompt")
        return worker_pb2.ThinkRequest(**(fields | changes))

    return make


_SETTLEMENT: dict[str, Any] = {
    "tenant": TENANT,
    "tier": budget_pb2.TIER_SIMPLE,
    "pool": budget_pb2.POOL_EASY,
    "rule": reasoner_pb2.RULE_AUTOMATIC,
    "predicted_bin": 2,
    "prior_hazards": [0.125] * NUM_NEED_BINS,
    "propensity": 0.5,
    "classifier_version": "v1",
    "features": [3, 5],
}
