"""The worker as a process: its start, its one-line errors, its drain, the death of its engine."""

import asyncio
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.environment import ConfigError
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1 import worker_pb2_grpc
from tests.workers.conftest import MODEL, TENANT, Reply
from workers.config import WorkerConfig
from workers.engine import EngineStopped, LLMEngine
from workers.engine_host import has_own_process
from workers.process import _serve

ROOT = Path(__file__).parents[2]
SERVING = health_pb2.HealthCheckResponse.SERVING


def _command_env(worker_env: dict[str, str], **changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name[:7] != "WORKER_"}
    paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto")))}
    return inherited | paths | {"OMP_NUM_THREADS": "1"} | worker_env | changes


def _failure(environ: dict[str, str]) -> tuple[int, str]:
    """Exit status and the last line of a worker that does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "workers"], env=environ, capture_output=True, text=True, timeout=60
    )
    [line] = ended.stderr.splitlines()
    return ended.returncode, line


@pytest.mark.e2e
def test_an_unknown_variable_is_named_in_one_line(worker_env):
    status, line = _failure(_command_env(worker_env, WORKER_MODELDIR="/x"))

    assert status == 2
    assert "WORKER_MODELDIR: unknown variable, did you mean WORKER_MODEL_DIR?" in line


@pytest.mark.e2e
def test_an_unreachable_redis_is_named_in_one_line(worker_env):
    status, line = _failure(
        _command_env(worker_env, WORKER_REDIS_URL="redis://user:secret@127.0.0.1:1/0")
    )

    assert status == 1
    assert "WORKER_REDIS_URL" in line
    assert "secret" not in line


async def test_an_unreadable_redis_url_is_named(start_worker):
    with pytest.raises(ConfigError, match="WORKER_REDIS_URL"):
        await start_worker(redis_url="redis://127.0.0.1:port")


@pytest.mark.e2e
def test_a_port_in_use_is_named_in_one_line(worker_env):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, line = _failure(_command_env(worker_env, WORKER_LISTEN=address))

    assert status == 1
    assert address in line


@pytest.mark.e2e
def test_a_broken_checkpoint_is_named_in_one_line(worker_env, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")

    status, line = _failure(_command_env(worker_env, WORKER_MODEL_DIR=str(broken)))

    assert status == 1
    assert str(broken) in line


@pytest.mark.e2e
def test_what_the_engines_process_cannot_load_is_named_in_one_line(worker_env, tiny_dir, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dir, copy, ignore=shutil.ignore_patterns("*.safetensors"))

    status, line = _failure(
        _command_env(worker_env, WORKER_MODEL_DIR=str(copy), WORKER_ENGINE_PROCESS="process")
    )

    assert status == 1
    assert str(copy) in line


@pytest.mark.parametrize(
    ("device", "setting", "expected"),
    [
        ("cpu", "auto", False),
        ("cuda", "auto", True),
        ("cuda:0", "auto", True),
        ("cpu", "process", True),
        ("cuda", "thread", False),
    ],
)
def test_on_a_gpu_the_engine_has_a_process_of_its_own(
    worker_env, monkeypatch, device, setting, expected
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    environ = worker_env | {"WORKER_DEVICE": device, "WORKER_ENGINE_PROCESS": setting}

    assert has_own_process(WorkerConfig.from_env(environ)) == expected


@pytest.mark.parametrize("device", ["quantum", "cuda:99"])
async def test_a_device_that_is_not_there_is_named(start_worker, device):
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("a CUDA device answers")

    with pytest.raises(ConfigError, match="WORKER_DEVICE"):
        await start_worker(device=device)


@pytest.mark.e2e
@pytest.mark.parametrize("engine_process", ["thread", "process"])
async def test_sigterm_lets_running_requests_finish(
    worker_env, redis_url, make_request, tmp_path, engine_process
):
    """To the whole group, as supervisors may send it."""
    address = f"unix:{tmp_path}/w.sock"
    environ = _command_env(worker_env, WORKER_LISTEN=address, WORKER_ENGINE_PROCESS=engine_process)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers", env=environ, start_new_session=True
    )
    try:
        async with rpc.open_channel(address) as channel:
            await _wait_until_serving(channel)
            stub: Any = worker_pb2_grpc.WorkerStub(channel)
            reply = Reply()
            async for event in stub.Think(make_request(thinking_budget=1500)):
                if not reply.thinking_ids:
                    os.killpg(process.pid, signal.SIGTERM)
                reply.add(event)
            status = await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()

    assert status == 0
    assert len(reply.thinking_ids) == 1500
    assert reply.done.settled
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    assert await ledger.settled_usage(MODEL, TENANT, "request-1") == reply.done.usage
    await ledger.close()


async def _wait_until_serving(channel: grpc.aio.Channel) -> None:
    request = health_pb2.HealthCheckRequest(service="ponder.v1.Worker")
    stub: Any = health_pb2_grpc.HealthStub(channel)
    async for status in stub.Watch(request, wait_for_ready=True, timeout=60):
        if status.status == SERVING:
            return


async def test_health_waits_for_the_engine_to_be_warm(worker):
    async with rpc.open_channel(f"127.0.0.1:{worker.parts.server.port}") as channel:
        request = health_pb2.HealthCheckRequest(service="ponder.v1.Worker")
        stub: Any = health_pb2_grpc.HealthStub(channel)
        found = await stub.Check(request)

    assert found.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_dead_engine_fails_its_streams_and_ends_the_process(
    start_worker, make_request, monkeypatch
):
    worker = await start_worker()
    call = worker.stub.Think(make_request(thinking_budget=3000))
    await call.read()
    monkeypatch.setattr(LLMEngine, "step", _fail)

    with pytest.raises(EngineStopped):
        await _serve(worker.parts)

    code, details = await worker.status_of(call)
    assert code == grpc.StatusCode.UNAVAILABLE
    assert details == "the engine has stopped; ask another worker"
    assert await worker.traces() == []


async def test_a_killed_engine_fails_its_streams_and_ends_the_process(start_worker, make_request):
    worker = await start_worker(engine_process="process")
    call = worker.stub.Think(make_request(thinking_budget=3000))
    await call.read()
    [child] = multiprocessing.active_children()

    child.kill()
    with pytest.raises(EngineStopped):
        await _serve(worker.parts)

    code, details = await worker.status_of(call)
    assert code == grpc.StatusCode.UNAVAILABLE
    assert details == "the engine has stopped; ask another worker"
    assert await worker.traces() == []


def _fail(self: LLMEngine) -> None:
    raise RuntimeError("the device is lost")
