"""The processes: Ponder, and the same ones as one queue, first come first served.

Each has a router, two workers with the reference model and a Redis. Both run all the time and are
asked in turn: who is not asked computes nothing.
"""

from __future__ import annotations

import importlib.resources
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ponder.cli.child import ChildSpec, LineSink
from ponder.cli.processes import HOST, REFERENCE_MODEL, free_ports
from ponder.cli.supervisor import Supervisor
from ponder.embedded_redis import EmbeddedRedis

PONDER: Final = "ponder"
ONE_QUEUE: Final = "one_queue"
SLOTS_PER_WORKER: Final = 4
NUM_SLOTS: Final = 2 * SLOTS_PER_WORKER


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """How router and workers differ from the other's; `pools` has an entry for each worker."""

    name: str
    pools: tuple[str, ...]
    worker: Mapping[str, str]
    router: Mapping[str, str]


SUBJECTS: Final = (
    Subject(name=PONDER, pools=("easy", "thinking"), worker={}, router={}),
    Subject(
        name=ONE_QUEUE,
        pools=("thinking", "thinking"),
        # Without a probation nobody gives way. All wait by what they have to come less the aging of
        # their wait, which outweighs it after some microseconds.
        worker={"WORKER_PROBATION_TOKENS": "0", "WORKER_AGING_TOKENS_PER_S": "1e9"},
        # Every tier suffices: nobody comes to the end of a budget, and queues once more.
        router={"ROUTER_TIER_BUDGETS": "9997,9998,9999,10000"},
    ),
)
# Whoever refuses looks fast. The defaults are for workers that sample several times faster.
_REFUSE_NOBODY: Final = {"ROUTER_MAX_QUEUE_S": "3600", "ROUTER_MAX_LINE_S": "3600"}


@asynccontextmanager
async def running(directory: Path, on_line: LineSink) -> AsyncIterator[Mapping[str, str]]:
    """All serving; the addresses of the routers by subject. Raises ChildExited."""
    routers, workers, addresses = [], [], {}
    async with AsyncExitStack() as exits:
        for subject in SUBJECTS:
            stack = _Stack(subject, directory / subject.name)
            redis = exits.enter_context(EmbeddedRedis(stack.directory / "redis"))
            routers.append(stack.router_spec(redis.url))
            workers += stack.worker_specs(redis.url)
            addresses[subject.name] = stack.router
        supervisor = await exits.enter_async_context(Supervisor((routers, workers), on_line))
        await supervisor.start()
        yield addresses


class _Stack:
    def __init__(self, subject: Subject, directory: Path) -> None:
        self.directory = directory
        self._subject = subject
        self.router, *self._workers = (
            f"{HOST}:{port}" for port in free_ports(1 + len(subject.pools))
        )

    def router_spec(self, redis_url: str) -> ChildSpec:
        variables = {
            "ROUTER_LISTEN": self.router,
            "ROUTER_EASY_WORKERS": self._addresses("easy"),
            "ROUTER_THINKING_WORKERS": self._addresses("thinking"),
            "ROUTER_MODELS": REFERENCE_MODEL,
            "ROUTER_REDIS_URL": redis_url,
            "ROUTER_SPOOL_DIR": str(self.directory / "spool" / "router"),
            "ROUTER_LOG_LEVEL": "warning",
            **_REFUSE_NOBODY,
            **self._subject.router,
        }
        return _module("router", f"{self._subject.name}-router", self.router, variables)

    def worker_specs(self, redis_url: str) -> list[ChildSpec]:
        specs = []
        for index, (pool, address) in enumerate(
            zip(self._subject.pools, self._workers, strict=True)
        ):
            name = f"{self._subject.name}-{index}"
            variables = {
                "WORKER_POOL": pool,
                "WORKER_NAME": name,
                "WORKER_LISTEN": address,
                "WORKER_MODEL_DIR": str(importlib.resources.files("workers") / "reference"),
                "WORKER_MODEL_NAME": REFERENCE_MODEL,
                "WORKER_REDIS_URL": redis_url,
                "WORKER_SPOOL_DIR": str(self.directory / "spool" / name),
                "WORKER_MAX_RUNNING": str(SLOTS_PER_WORKER),
                # When a trial is sure depends on when its fork got a row: needs would differ.
                "WORKER_EARLY_EXIT": "off",
                "WORKER_NOTICE_S": "0",
                "WORKER_LOG_LEVEL": "warning",
                **self._subject.worker,
            }
            specs.append(_module("workers", name, address, variables))
        return specs

    def _addresses(self, pool: str) -> str:
        pairs = zip(self._subject.pools, self._workers, strict=True)
        return ",".join(address for of, address in pairs if of == pool)


def _module(module: str, name: str, address: str, variables: Mapping[str, str]) -> ChildSpec:
    defaults = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return ChildSpec(
        name=name,
        command=(sys.executable, "-m", module),
        environment={**defaults, **os.environ, **variables},
        address=address,
    )
