"""`python -m router.openai`: a reason not to start is one line; SIGTERM is a clean end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ponder.environment import ConfigError
from router.openai.config import DoorConfig
from router.openai.server import bind
from tests.router.conftest import eventually
from tests.router.openai.raw_http import ask, request_bytes

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "router.openai"]


@pytest.fixture
def environ(unused_address):
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
        "OPENAI_DOOR_LISTEN": listen,
        "OPENAI_DOOR_ROUTER": unused_address,
    }


def refused(environ: dict[str, str]) -> str:
    process = subprocess.run(COMMAND, env=environ, capture_output=True, text=True, timeout=60)
    assert process.returncode in (1, 2)
    assert process.stderr.count("\n") == 1, process.stderr
    return process.stderr


def test_an_unknown_variable_is_named(environ):
    assert "did you mean OPENAI_DOOR_ROUTER?" in refused({**environ, "OPENAI_DOOR_ROUTR": "x:1"})


@pytest.mark.parametrize(
    ("name", "value"), [("LISTEN", "unix:/tmp/door"), ("LISTEN", "8801"), ("MAX_BODY_BYTES", "-1")]
)
def test_a_bad_value_is_named(name, value):
    with pytest.raises(ConfigError, match=f"OPENAI_DOOR_{name}='{value}'"):
        DoorConfig.from_env({f"OPENAI_DOOR_{name}": value})


def test_a_reserve_above_the_longest_answer_is_refused():
    with pytest.raises(ConfigError, match="OPENAI_DOOR_ANSWER_RESERVE_TOKENS=256: above"):
        DoorConfig.from_env({"OPENAI_DOOR_MAX_ANSWER_TOKENS": "100"})


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_in_use_is_named(environ, host):
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    with socket.create_server((host.strip("[]"), 0), family=family) as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        message = refused({**environ, "OPENAI_DOOR_LISTEN": address})

    assert f"OPENAI_DOOR_LISTEN: cannot listen on {address}" in message


def test_pieces_of_a_reply_do_not_wait_for_acknowledgements():
    with (
        bind("127.0.0.1:0") as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_it_serves_without_a_router_and_stops_cleanly(environ):
    process = await asyncio.create_subprocess_exec(*COMMAND, env=environ, stderr=subprocess.PIPE)
    async with asyncio.timeout(60):
        await _answering(environ["OPENAI_DOOR_LISTEN"])
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()

    assert process.returncode == 0
    assert b"Traceback" not in errors


async def _answering(address: str) -> None:
    async def status() -> int | None:
        try:
            return (await ask(f"http://{address}", request_bytes("GET /healthz", b"")))[0]
        except ConnectionRefusedError:
            return None

    assert await eventually(status) == 503


def test_it_needs_neither_redis_nor_numpy_nor_onnx():
    program = (
        "import sys, router.openai.server; "
        "sys.exit(' '.join({'redis', 'numpy', 'onnxruntime'} & sys.modules.keys()) or None)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
