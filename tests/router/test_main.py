"""`python -m router`: a reason not to start is one line and a status; SIGTERM is a clean end."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environ(redis_url, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
        "OMP_NUM_THREADS": "1",
        "ROUTER_LISTEN": f"127.0.0.1:{port}",
        "ROUTER_EASY_WORKERS": "127.0.0.1:1",
        "ROUTER_THINKING_WORKERS": "127.0.0.1:2",
        "ROUTER_REDIS_URL": redis_url,
        "ROUTER_REDIS_WAIT_S": "0",
        "ROUTER_SPOOL_DIR": str(tmp_path / "spool"),
        "ROUTER_CLASSIFIER": str(tmp_path / "missing.onnx"),
        "ROUTER_LOG_LEVEL": "error",
    }


def refused(environ: dict[str, str]) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "router"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert process.returncode in (1, 2)
    assert process.stderr.count("\n") == 1, process.stderr
    return process.stderr


def test_an_unknown_variable_is_named(environ):
    assert "ROUTER_COVRAGE: unknown" in refused({**environ, "ROUTER_COVRAGE": "1"})


def test_an_unreachable_redis_is_named(environ):
    message = refused({**environ, "ROUTER_REDIS_URL": "redis://127.0.0.1:1"})

    assert "ROUTER_REDIS_URL: no Redis answers there" in message


def test_a_port_in_use_is_named(environ):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot listen on {address}" in refused({**environ, "ROUTER_LISTEN": address})


def test_a_broken_classifier_is_named(environ, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")

    message = refused({**environ, "ROUTER_CLASSIFIER": str(tmp_path / "broken.onnx")})

    assert "ROUTER_CLASSIFIER" in message
    assert "broken.onnx" in message


def test_a_spool_that_cannot_be_written_is_named(environ):
    assert "ROUTER_SPOOL_DIR" in refused({**environ, "ROUTER_SPOOL_DIR": "/proc/spool"})


def test_it_is_not_serving_without_workers_and_stops_cleanly(environ):
    process = subprocess.Popen([sys.executable, "-m", "router"], env=environ)
    try:
        with grpc.insecure_channel(environ["ROUTER_LISTEN"]) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
            stub: Any = health_pb2_grpc.HealthStub(channel)  # the stubs of the package lack Check
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        process.send_signal(signal.SIGTERM)

        assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
