"""What a worker finds out about its upstream when it starts, and its errors when it cannot."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from tests.workers.test_process import _command_env
from tests.workers.upstream.fake_model import FakeModel
from tests.workers.upstream.fake_server import FakeServer
from tests.workers.upstream.shapes import MODEL, Json, LlamaCppShape, SglangShape, VllmShape
from workers.config import WorkerConfig
from workers.process import _serve, open_worker
from workers.upstream.errors import UpstreamUnusable
from workers.upstream.health import ServerHealth
from workers.upstream.open import open_upstream as open_parts

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class OnlyOpenAi(VllmShape):
    """A server of which nothing is known but its models."""

    def page(self, path: str, body: Json, model: FakeModel) -> Json | None:
        return super().page(path, body, model) if path == "/v1/models" else None


class TwoModels(VllmShape):
    def page(self, path: str, body: Json, model: FakeModel) -> Json | None:
        page = super().page(path, body, model)
        if page is not None and path == "/v1/models":
            page["data"].append(page["data"][0] | {"id": "org/other"})
        return page


class Nonsense(VllmShape):
    def page(self, path: str, body: Json, model: FakeModel) -> Json | None:
        return {"data": [{"name": "no id"}]}


OpenParts = Callable[..., Any]


@pytest.fixture
def server_of(model: FakeModel) -> Callable[[Any], Any]:
    return lambda shape: FakeServer(shape, model).running()


@pytest.fixture
def open_at(worker_env: dict[str, str]) -> OpenParts:
    """The parts of a worker in front of a URL; variables without their prefix, by keyword."""

    async def open_it(url: str, **variables: str) -> Any:
        env = {name: value for name, value in worker_env.items() if name != "WORKER_MODEL_DIR"}
        env["WORKER_UPSTREAM_URL"] = url
        env |= {f"WORKER_{name.upper()}": value for name, value in variables.items()}
        return await asyncio.to_thread(open_parts, WorkerConfig.from_env(env), url)

    return open_it


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (VllmShape(), ["vLLM 0.11.0, model org/tiny", "context 4096 tokens, at once not told"]),
        (SglangShape(), ["SGLang 0.5.3, model org/tiny", "at once 3 requests"]),
        (LlamaCppShape(), ["llama.cpp b1-test, model org/tiny", "at once 2 requests"]),
    ],
)
async def test_what_was_found_is_logged(server_of, open_at, tiny_dir, caplog, shape, says):
    caplog.set_level(logging.INFO)

    async with server_of(shape) as server:
        engine, _, limits = await open_at(server.url, model_dir=str(tiny_dir))
        async with engine:
            pass

    for text in [*says, "prefixes cached: ", "'</think>'"]:
        assert text in caplog.text
    assert limits.model == MODEL


async def test_an_upstream_that_is_not_there_is_named(open_at):
    with pytest.raises(UpstreamUnusable, match=r"127\.0\.0\.1:1: .*does not answer"):
        await open_at("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (OnlyOpenAi(), "none of /props .*, /server_info .* and /version"),
        (TwoModels(), "WORKER_UPSTREAM_MODEL: .* serves org/tiny, org/other"),
        (SglangShape(), "WORKER_MODEL_DIR: SGLang renders no chat template"),
        (Nonsense(), "answers as no known server"),
    ],
)
async def test_an_upstream_that_does_not_do_is_told_why(server_of, open_at, shape, says):
    async with server_of(shape) as server:
        with pytest.raises(UpstreamUnusable, match=says):
            await open_at(server.url)


async def test_one_of_several_models_can_be_chosen(server_of, open_at):
    async with server_of(TwoModels()) as server:
        engine, _, limits = await open_at(server.url, upstream_model="org/other")
        async with engine:
            pass

    assert limits.model == "org/other"


async def test_the_key_is_sent_with_every_request(server_of, open_at, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text("secret\n")

    async with server_of(VllmShape()) as server:
        engine, _, _ = await open_at(server.url, upstream_api_key_file=str(key_file))
        async with engine:
            pass

    assert server.authorizations == {"Bearer secret"}


@pytest.mark.e2e
def test_an_upstream_that_is_not_there_ends_the_process_with_one_line(worker_env):
    ended = subprocess.run(
        [sys.executable, "-m", "workers", "--upstream", "http://127.0.0.1:1"],
        env=_command_env(worker_env),
        capture_output=True,
        text=True,
        timeout=60,
    )

    [line] = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert "WORKER_UPSTREAM_URL: http://127.0.0.1:1" in line


async def test_the_workers_health_follows_the_upstreams(upstream_env, server_of, monkeypatch):
    monkeypatch.setattr(ServerHealth.__init__, "__defaults__", (0.01,))

    async with server_of(VllmShape()) as server, served(upstream_env(server.url)) as health:
        assert await anext(health) == SERVING
        server.is_healthy = False
        assert await anext(health) == NOT_SERVING
        server.is_healthy = True
        assert await anext(health) == SERVING


@pytest.fixture
def upstream_env(worker_env: dict[str, str]) -> Callable[[str], dict[str, str]]:
    return lambda url: worker_env | {"WORKER_UPSTREAM_URL": url}


@asynccontextmanager
async def served(env: dict[str, str]) -> AsyncIterator[AsyncIterator[Any]]:
    """A worker as its process runs it; gives each change of its health once it is ready."""
    async with open_worker(WorkerConfig.from_env(env)) as parts:
        serving = asyncio.create_task(_serve(parts))
        async with rpc.open_channel(f"127.0.0.1:{parts.server.port}") as channel:
            yield _changes(channel)
        serving.cancel()
        await asyncio.wait([serving])


async def _changes(channel: Any) -> AsyncIterator[Any]:
    request = health_pb2.HealthCheckRequest(service="ponder.v1.Worker")
    is_ready = False
    stub: Any = health_pb2_grpc.HealthStub(channel)
    async for reply in stub.Watch(request, wait_for_ready=True):
        is_ready = is_ready or reply.status == SERVING
        if is_ready:
            yield reply.status
