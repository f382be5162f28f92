"""The processes of `ponder bench overhead`: Redis, a router alone on its core, two stub workers."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ponder.cli.child import ChildSpec, LineSink
from ponder.cli.processes import HOST, free_ports
from ponder.cli.supervisor import Supervisor
from ponder.embedded_redis import EmbeddedRedis

MODEL = "ponder-reference"


@dataclass(frozen=True, slots=True)
class Addresses:
    """host:port of each."""

    router: str
    workers: tuple[str, str]


@asynccontextmanager
async def running(directory: Path, work_s: float, on_line: LineSink) -> AsyncIterator[Addresses]:
    """Everything serving; the router has the first core to itself, the rest shares the others."""
    router, *workers = (f"{HOST}:{port}" for port in free_ports(3))
    addresses = Addresses(router=router, workers=(workers[0], workers[1]))
    with EmbeddedRedis(directory / "redis") as redis:
        routers = (_router(addresses, redis.url, directory),)
        stubs = tuple(
            _stub(name, address, work_s) for name, address in zip("ab", workers, strict=True)
        )
        async with Supervisor((routers, stubs), on_line) as supervisor:
            await supervisor.start()
            first, others = cores()
            for pid in [redis.pid, *supervisor.pids]:
                os.sched_setaffinity(pid, others)
            os.sched_setaffinity(supervisor.pids[0], first)
            with on_cores(others):
                yield addresses


def _router(addresses: Addresses, redis_url: str, directory: Path) -> ChildSpec:
    easy, thinking = addresses.workers
    variables = {
        "ROUTER_LISTEN": addresses.router,
        "ROUTER_EASY_WORKERS": easy,
        "ROUTER_THINKING_WORKERS": thinking,
        "ROUTER_MODELS": MODEL,
        "ROUTER_REDIS_URL": redis_url,
        "ROUTER_SPOOL_DIR": str(directory / "spool"),
        "ROUTER_LOG_LEVEL": "warning",
    }
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **variables}
    command = (sys.executable, "-m", "router")
    return ChildSpec(
        name="router", command=command, environment=environment, address=addresses.router
    )


def _stub(name: str, address: str, work_s: float) -> ChildSpec:
    arguments = ("--listen", address, "--model", MODEL, "--work-s", str(work_s))
    command = (sys.executable, "-m", "router.bench.stub_worker", *arguments)
    return ChildSpec(name=name, command=command, environment=os.environ, address=address)


def cores() -> tuple[set[int], set[int]]:
    """One for the router, the others for the rest; the same one where there is only one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


@contextmanager
def on_cores(allowed: set[int]) -> Iterator[None]:
    """This process keeps to these cores for the duration of the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
