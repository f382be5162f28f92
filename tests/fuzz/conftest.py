"""A real router and a real worker with a tiny model, as processes, and a client that remembers."""

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.cli.processes import HOST, free_ports
from ponder.embedded_redis import EmbeddedRedis
from ponder.v1 import reasoner_pb2, reasoner_pb2_grpc, worker_pb2, worker_pb2_grpc
from ponder.v1.budget_pb2 import Sampling
from tests.workers.tiny_model import save_tiny_model

MODEL = "tiny"
START_S = 120.0
IDLE_S = 60.0
FORBIDDEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


@dataclass
class Target:
    """One server under test. `statuses` counts how its calls ended."""

    service: str
    address: str
    process: "subprocess.Popen[bytes]"
    channel: grpc.Channel
    statuses: Counter[str] = field(default_factory=Counter)

    def note(self, error: grpc.RpcError | None) -> None:
        """Fails the test for a status that says that we, not the caller, did something wrong."""
        code = grpc.StatusCode.OK if error is None else error.code()
        self.statuses[code.name] += 1
        assert code not in FORBIDDEN, f"{code.name}: {error.details() if error else ''}"
        details = "" if error is None else error.details() or ""
        assert "Traceback" not in details
        assert "Exception" not in details

    def call(self, method: str, request: Any, timeout_s: float, take: int | None = None) -> None:
        """Any method as a stream of raw bytes; leaves after `take` replies."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        self.stream(method, iter([raw]), timeout_s, take)

    def stream(
        self, method: str, requests: Iterator[bytes], timeout_s: float, take: int | None = None
    ) -> None:
        # Without a serializer bytes are sent as they are, which the stubs of grpc do not know.
        start: Any = self.channel.stream_stream(f"/{self.service}/{method}")
        call = start(requests, timeout=timeout_s)
        try:
            for number, _ in enumerate(call):
                if take is not None and number >= take:
                    call.cancel()
                    self.statuses["left early"] += 1
                    return
        except grpc.RpcError as error:
            self.note(error)
        else:
            self.note(None)


@dataclass(frozen=True)
class Stack:
    """Both servers, on one Redis."""

    router: Target
    worker: Target

    def check_whole(self) -> None:
        """Both processes live, answer, and the worker has given back every page."""
        for target in (self.router, self.worker):
            assert target.process.poll() is None, f"{target.service} has died"
        reasoner = reasoner_pb2_grpc.ReasonerStub(self.router.channel)
        reply = reasoner.Reason(ask(), timeout=IDLE_S)
        assert reply.answer
        self._check_pages()

    def _check_pages(self) -> None:
        load = worker_pb2.Load()
        stub = worker_pb2_grpc.WorkerStub(self.worker.channel)
        watch = stub.Watch(worker_pb2.WatchRequest(), timeout=IDLE_S)
        with contextlib.suppress(grpc.RpcError):
            for load in watch:
                if not load.running + load.waiting and load.free_kv_pages == load.total_kv_pages:
                    watch.cancel()
                    return
        pytest.fail(f"after {IDLE_S} s without requests the worker still reports {load}")


def ask() -> reasoner_pb2.ReasonRequest:
    """A valid one that ends soon."""
    return reasoner_pb2.ReasonRequest(
        prompt="Reach 24 from 3, 5, 6 and 8.",
        thinking_budget=20,
        max_answer_tokens=8,
        sampling=Sampling(seed=1, temperature=0.0),
    )


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("fuzz")
    save_tiny_model(directory / MODEL)
    worker, router = (f"{HOST}:{port}" for port in free_ports(2))
    with contextlib.ExitStack() as exits:
        redis = exits.enter_context(EmbeddedRedis(directory / "redis"))
        yield Stack(
            worker=_target(exits, "workers", worker, _worker(directory, redis.url, worker)),
            router=_target(exits, "router", router, _router(directory, redis.url, router, worker)),
        )


def _worker(directory: Path, redis_url: str, address: str) -> dict[str, str]:
    return {
        "WORKER_MODEL_DIR": str(directory / MODEL),
        "WORKER_LISTEN": address,
        "WORKER_REDIS_URL": redis_url,
        "WORKER_SPOOL_DIR": str(directory / "spool-worker"),
        "WORKER_KV_PAGES": "600",
        "WORKER_MAX_MODEL_LEN": "4096",
        "WORKER_MAX_ANSWER_TOKENS": "64",
        "WORKER_MAX_THINKING_BUDGET": "3000",
        # What is kept for later prompts would look like a leak.
        "WORKER_PREFIX_CACHE": "off",
        "WORKER_LOG_LEVEL": "error",
    }


def _router(directory: Path, redis_url: str, address: str, worker: str) -> dict[str, str]:
    return {
        "ROUTER_LISTEN": address,
        "ROUTER_EASY_WORKERS": "",
        "ROUTER_THINKING_WORKERS": worker,
        "ROUTER_REDIS_URL": redis_url,
        "ROUTER_SPOOL_DIR": str(directory / "spool-router"),
        "ROUTER_MAX_PROMPT_BYTES": "4096",
        "ROUTER_TIER_BUDGETS": "50,500,2000,3000",
        "ROUTER_LOG_LEVEL": "error",
    }


def _target(
    exits: contextlib.ExitStack, module: str, address: str, variables: dict[str, str]
) -> Target:
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        stdout=subprocess.DEVNULL,
    )
    exits.callback(process.wait)
    exits.callback(process.terminate)
    channel = exits.enter_context(grpc.insecure_channel(address, options=rpc.channel_options()))
    _wait_until_serving(channel, process)
    service = {"workers": "ponder.v1.Worker", "router": "ponder.v1.Reasoner"}[module]
    return Target(service=service, address=address, process=process, channel=channel)


def _wait_until_serving(channel: grpc.Channel, process: "subprocess.Popen[bytes]") -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(grpc.RpcError):
            request = health_pb2.HealthCheckRequest()
            reply = health.Check(request, timeout=START_S, wait_for_ready=True)
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return
        time.sleep(0.1)
    pytest.fail("the process did not start")
