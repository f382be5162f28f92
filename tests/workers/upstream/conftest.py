"""A worker in front of a server that answers as vLLM, SGLang or llama.cpp does."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import RunningWorker
from tests.workers.upstream.fake_model import FakeModel
from tests.workers.upstream.fake_server import FakeServer
from tests.workers.upstream.shapes import LlamaCppShape, SglangShape, Shape, VllmShape
from workers.config import WorkerConfig
from workers.upstream import token_source

SHAPES = {"vllm": VllmShape, "sglang": SglangShape, "llama.cpp": LlamaCppShape}


@dataclass(frozen=True)
class Upstream:
    """A worker and what it is in front of."""

    server: FakeServer
    worker: RunningWorker

    def fail(self, *faults: Any) -> None:
        """What becomes of the completions that follow, one each."""
        self.server.faults.extend(faults)


Open = Callable[..., Awaitable[Upstream]]


@pytest.fixture
def model(tiny_dir: Path) -> FakeModel:
    return FakeModel.of(tiny_dir)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which are not waited for."""
    waited: list[float] = []

    async def note(pause_s: float) -> None:
        waited.append(pause_s)

    monkeypatch.setattr(token_source.TokenSource.__init__, "__defaults__", (note,))
    return waited


@pytest.fixture
async def open_upstream(
    worker_env: dict[str, str],
    tiny_dir: Path,
    model: FakeModel,
    running: Callable[[WorkerConfig], Any],
) -> AsyncIterator[Open]:
    """Starts a server of a shape and a worker in front of it."""
    async with AsyncExitStack() as stack:

        async def start(shape: Shape, **variables: str) -> Upstream:
            server = await stack.enter_async_context(FakeServer(shape, model).running())
            env = worker_env | {
                "WORKER_UPSTREAM_URL": server.url,
                "WORKER_MODEL_NAME": "tiny",
                "WORKER_WRAP_UP_TEXT": "",
            }
            if not isinstance(shape, SglangShape):
                del env["WORKER_MODEL_DIR"]
            env |= {f"WORKER_{name.upper()}": value for name, value in variables.items()}
            worker = await stack.enter_async_context(running(WorkerConfig.from_env(env)))
            return Upstream(server, worker)

        yield start


@pytest.fixture(params=SHAPES)
async def upstream(request: pytest.FixtureRequest, open_upstream: Open) -> Upstream:
    """One of each kind."""
    return await open_upstream(SHAPES[request.param]())


@pytest.fixture
async def vllm(open_upstream: Open) -> Upstream:
    """For what does not depend on the kind of server."""
    return await open_upstream(VllmShape())
