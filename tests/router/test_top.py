"""`ponder top` against a real router with two small workers."""

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from ponder.cli import main
from ponder.cli.client import Connection, RequestFailed
from ponder.cli.top import statuses
from ponder.v1 import operations_pb2
from tests.certificates import Authority
from tests.router.conftest import DEADLINE_S


async def top(stack, *arguments: str) -> Result:
    target = f"127.0.0.1:{stack.router.server.port}"
    # The command has an event loop of its own.
    return await asyncio.to_thread(
        CliRunner().invoke, main, ["top", "--target", target, *arguments]
    )


async def test_one_snapshot_as_json(start):
    async with start() as stack:
        reply = await stack.reason()
        result = await top(stack, "--once", "--json")

    assert result.exit_code == 0, result.output
    (line,) = result.output.splitlines()
    found = json.loads(line)
    assert {worker["pool"] for worker in found["workers"]} == {"POOL_EASY", "POOL_THINKING"}
    (model,) = found["models"]
    used = {tier["tier"]: tier["used_tokens"] for tier in model["tiers"] if tier["requests"]}
    assert used == {"TIER_MODERATE": reply.usage.thinking_tokens}
    assert found["tenants"][0]["tenant"] == "local"
    assert found["target"].endswith(str(stack.router.server.port))


async def test_one_picture_when_it_is_not_on_a_terminal(start):
    async with start() as stack:
        await stack.reason()
        result = await top(stack)

    assert result.exit_code == 0, result.output
    for words in ("easy", "thinking", "up", "moderate", "500", "local", "drift", "no classifier"):
        assert words in result.output


async def test_a_worker_that_is_away_is_said(start):
    async with start() as stack:
        await stack.easy_server.stop(None)
        await stack.reason()
        result = await top(stack, "--once")

    assert "away" in result.output
    assert "missing: no live worker in the easy pool" in result.output


@pytest.mark.parametrize("arguments", [("--once",), ("--json",)])
def test_without_a_router_it_says_how_to_get_one(arguments):
    result = CliRunner().invoke(main, ["top", "--target", "127.0.0.1:1", *arguments])

    assert result.exit_code == 1
    assert "no router answers at 127.0.0.1:1" in result.output
    assert "ponder up" in result.output


async def test_a_router_that_serves_tls_is_watched_by_certificate(start, tmp_path):
    ours = Authority()
    client = ours.folder(tmp_path / "client", "client")
    tls_dir = ours.folder(tmp_path / "router")
    async with start(tls_dir=tls_dir, client_certificates=True) as stack:
        by_tls = await top(stack, "--once", "--tls-dir", client)
        without = await top(stack, "--once")

    assert by_tls.exit_code == 0, by_tls.output
    assert "thinking" in by_tls.output
    assert without.exit_code == 1


@pytest.mark.parametrize("by_tls", [False, True])
async def test_a_router_that_starts_again_is_seen_again(start, tmp_path, by_tls):
    tls_dir = Authority().folder(tmp_path / "tls") if by_tls else ""
    async with start(tls_dir=tls_dir) as stack:
        port = stack.router.server.port
        connection = Connection(
            target=f"127.0.0.1:{port}", api_key=None, timeout_s=DEADLINE_S, tls_dir=tls_dir
        )
        seen = statuses(connection, interval_s=0.05)
        first = await anext(seen)
    gone = await anext(seen)
    async with start(tls_dir=tls_dir, listen=f"127.0.0.1:{port}"), asyncio.timeout(DEADLINE_S):
        async for found in seen:
            if isinstance(found, operations_pb2.StatusReply):
                break
    await seen.aclose()

    assert isinstance(first, operations_pb2.StatusReply)
    assert isinstance(gone, RequestFailed)
