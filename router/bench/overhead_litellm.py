"""LiteLLM's proxy with its complexity router, timed like our router: routed less straight.

The peer of `ponder bench overhead`. It runs in an environment of its own, on a core of its own.
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np

from ponder.cli.child import Child, ChildSpec, LineSink
from ponder.cli.log import say
from ponder.cli.processes import free_ports
from router.bench.http_stub import HttpClient, HttpFailed
from router.bench.overhead_load import Call, at_once, at_rate
from router.bench.overhead_stack import cores, on_cores

# The proxy refuses to start with a weak one.
_KEY: Final = "sk-" + "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
_MODEL: Final = "by-complexity"
_RUN: Final = "from litellm import run_server; run_server()"
_START_S: Final = 120.0
_PATH: Final = "/v1/chat/completions"
_TIERS: Final = ("SIMPLE", "MEDIUM", "COMPLEX", "REASONING")
_PROMPTS: Final = (
    "What is the capital of France?",
    "Solve 3x + 5 = 20",
    "Reach 24 using each of 3, 5, 6 and 8 once.",
)


class PeerFailed(Exception):
    """LiteLLM's proxy did not start, or did not answer."""


async def measure(
    python: Path, rate_per_s: float, num_calls: int, on_line: LineSink
) -> dict[str, float]:
    """Figures whose names begin with litellm_. Raises PeerFailed."""
    say(f"LiteLLM's proxy with its complexity router, {num_calls} calls at {rate_per_s:g}/s")
    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as directory:
        async with _running(python, Path(directory), on_line) as (proxy, upstream):
            times_ms, fastest = await _times(proxy, upstream, rate_per_s, num_calls)
    routed, straight = (
        {f"p{q}": float(np.percentile(times_ms[way], q)) for q in (50, 90, 99)}
        for way in ("routed", "straight")
    )
    return {
        **{f"litellm_hop_{name}_ms": round(routed[name] - straight[name], 3) for name in routed},
        **{f"litellm_straight_{name}_ms": round(straight[name], 3) for name in straight},
        "litellm_most_calls_per_s": round(fastest, 1),
        "litellm_rate_per_s": rate_per_s,
    }


async def _times(
    proxy: int, upstream: int, rate_per_s: float, num_calls: int
) -> tuple[dict[str, list[float]], float]:
    clients = {way: HttpClient(port, _PATH, _KEY) for way, port in _ways(proxy, upstream).items()}
    calls = {way: _call(client) for way, client in clients.items()}
    try:
        for call in calls.values():
            await at_rate(call, rate_per_s, 20)
        times_ms = {way: await at_rate(call, rate_per_s, num_calls) for way, call in calls.items()}
        return times_ms, await at_once(calls["routed"], 32, num_calls)
    except (HttpFailed, OSError, asyncio.IncompleteReadError) as error:
        raise PeerFailed(f"LiteLLM's proxy: {error}") from error
    finally:
        for client in clients.values():
            await client.close()


def _ways(proxy: int, upstream: int) -> Mapping[str, int]:
    return {"straight": upstream, "routed": proxy}


def _call(client: HttpClient) -> Call:
    prompts = itertools.cycle(_PROMPTS)

    async def call() -> None:
        message = {"role": "user", "content": next(prompts)}
        await client.post({"model": _MODEL, "messages": [message]})

    return call


@asynccontextmanager
async def _running(
    python: Path, directory: Path, on_line: LineSink
) -> AsyncIterator[tuple[int, int]]:
    proxy, upstream = free_ports(2)
    config = directory / "litellm.json"
    config.write_text(json.dumps(_config(upstream)), encoding="utf-8")
    first, others = cores()
    stub_command = (sys.executable, "-m", "router.bench.http_stub")
    stub = await _start("upstream", stub_command, upstream, on_line)
    command = (str(python), "-c", _RUN, "--config", str(config), "--host", "127.0.0.1")
    peer = await _start("litellm", command, proxy, on_line)
    try:
        os.sched_setaffinity(stub.pid, others)
        await _wait_until_it_answers(proxy)
        os.sched_setaffinity(peer.pid, first)
        with on_cores(others):
            yield proxy, upstream
    finally:
        await peer.stop()
        await stub.stop()


async def _start(name: str, command: Sequence[str], port: int, on_line: LineSink) -> Child:
    spec = ChildSpec(
        name=name,
        command=(*command, "--port", str(port)),
        # No list of prices from the network.
        environment={
            **os.environ,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": _KEY,
        },
        address=None,
        stop_timeout_s=10.0,
    )
    return await Child.start(spec, on_line)


async def _wait_until_it_answers(port: int) -> None:
    client = HttpClient(port, _PATH, _KEY)
    deadline_s, last = time.monotonic() + _START_S, "it does not listen"
    while time.monotonic() < deadline_s:
        try:
            await _call(client)()
        except (HttpFailed, OSError, asyncio.IncompleteReadError) as error:
            last = str(error)
            await asyncio.sleep(0.5)
        else:
            await client.close()
            return
    with contextlib.suppress(OSError):
        await client.close()
    raise PeerFailed(f"LiteLLM's proxy did not answer in {_START_S:g} s: {last}")


def _config(upstream: int) -> dict[str, object]:
    base = {"model": "openai/stub", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": _KEY}
    tiers = {name: f"tier-{name.lower()}" for name in _TIERS}
    router = {
        "model": "auto_router/complexity_router",
        "complexity_router_config": {"tiers": tiers},
        "complexity_router_default_model": tiers["MEDIUM"],
    }
    models: list[dict[str, object]] = [{"model_name": _MODEL, "litellm_params": router}]
    models += [{"model_name": name, "litellm_params": base} for name in tiers.values()]
    return {"model_list": models}
