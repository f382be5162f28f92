"""The processes that chaos works on: a Redis behind a proxy, two routers, four workers."""

import asyncio
import importlib.resources
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import grpc

from ponder import rpc
from ponder.cli.chaos.proxy import Proxy, Streams
from ponder.cli.child import Child, ChildSpec, LineSink
from ponder.cli.processes import HOST, REFERENCE_MODEL, free_ports
from ponder.cli.supervisor import wait_until_serving
from ponder.embedded_redis import EmbeddedRedis
from ponder.ledger import Ledger, LedgerConfig

MODEL: Final = REFERENCE_MODEL
TENANT: Final = "local"
EASY, THINKING, ROUTERS = ("easy-1",), ("think-1", "think-2", "think-3"), ("router-1", "router-2")
WORKERS: Final = (*EASY, *THINKING)
_LEDGER_TIMEOUT_S: Final = 10.0
_STAND_IN: Final = ("-m", "ponder.cli.chaos.stand_in")


@dataclass(slots=True)
class Member:
    """One process and its place: a restarted one has the same address and folder.

    `is_serving` is what its health says, which callers follow. `num_ends` grows when it is killed
    or told to stop, so that a caller can tell that a call which failed had lost its router.
    """

    spec: ChildSpec
    child: Child | None = None
    is_serving: bool = False
    num_ends: int = 0

    @property
    def address(self) -> str:
        assert self.spec.address is not None
        return self.spec.address

    def signal(self, number: int) -> None:
        assert self.child is not None, f"{self.spec.name} does not run"
        os.kill(self.child.pid, number)


class Fleet:
    """Made by open_fleet."""

    def __init__(self, directory: Path, rng: Random, on_line: LineSink, *, real: bool) -> None:
        self._redis_dir = directory / "redis"
        self._snapshot_dir = directory / "snapshot"
        self._on_line = on_line
        self.redis: EmbeddedRedis | None = EmbeddedRedis(self._redis_dir)
        self.proxy = Proxy(self._reach_redis, rng)
        self.spools = {name: directory / "spool" / name for name in (*WORKERS, *ROUTERS)}
        self.members: dict[str, Member] = {}
        self._real = real

    # Processes

    async def start(self) -> None:
        """Returns when all serve."""
        ports = dict(zip((*WORKERS, *ROUTERS), free_ports(6), strict=True))
        addresses = {name: f"{HOST}:{port}" for name, port in ports.items()}
        for name in WORKERS:
            self.members[name] = Member(self._worker(name, addresses[name]))
        for name in ROUTERS:
            self.members[name] = Member(self._router(name, addresses))
        for names in (WORKERS, ROUTERS):
            await asyncio.gather(*map(self.start_one, names))

    async def start_one(self, name: str) -> None:
        """Returns when it serves."""
        member = self.members[name]
        member.child = await Child.start(member.spec, self._on_line)
        await wait_until_serving(member.address)
        member.is_serving = True

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        await self._end(name, signal.SIGKILL)

    async def drain(self, name: str) -> None:
        """SIGTERM; returns when it has ended."""
        await self._end(name, signal.SIGTERM)

    async def stop(self) -> None:
        for names in (ROUTERS, WORKERS):
            running = [name for name in names if name in self.members and self.members[name].child]
            await asyncio.gather(*map(self.drain, running))
        self.kill_redis()

    async def _end(self, name: str, number: int) -> None:
        member = self.members[name]
        child = member.child
        assert child is not None, f"{name} does not run"
        member.num_ends += 1
        member.child, member.is_serving = None, False
        os.kill(child.pid, number)
        await child.wait()

    # Redis

    def kill_redis(self) -> None:
        """As a crash would; what it had written it finds again."""
        if self.redis is not None:
            os.kill(self.redis.pid, signal.SIGKILL)
            self.redis.stop()
            self.redis = None

    def start_redis(self) -> None:
        """On the data it left behind."""
        self.redis = EmbeddedRedis(self._redis_dir)

    def snapshot_redis(self) -> None:
        """What a lagging replica would hold: its data as it is on disk now."""
        shutil.rmtree(self._snapshot_dir, ignore_errors=True)
        shutil.copytree(self._redis_dir, self._snapshot_dir)

    def fail_over_redis(self) -> None:
        """The replica takes over: what came after the snapshot is gone, though acknowledged."""
        self.kill_redis()
        shutil.rmtree(self._redis_dir)
        shutil.move(self._snapshot_dir, self._redis_dir)
        self.start_redis()

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[Ledger]:
        """Past the proxy."""
        assert self.redis is not None, "Redis does not run"
        ledger = Ledger.from_url(self.redis.url, LedgerConfig(timeout_s=_LEDGER_TIMEOUT_S))
        try:
            yield ledger
        finally:
            await ledger.close()

    async def _reach_redis(self) -> Streams:
        if self.redis is None:
            raise ConnectionRefusedError("Redis does not run")
        return await asyncio.open_unix_connection(self.redis.url.removeprefix("unix://"))

    # Specifications

    @property
    def _redis_url(self) -> str:
        return f"redis://{HOST}:{self.proxy.port}/0"

    def _worker(self, name: str, address: str) -> ChildSpec:
        if self._real:
            return self._spec(
                name, address, ("-m", "workers"), self._worker_variables(name, address)
            )
        arguments = {
            "--listen": address,
            "--name": name,
            "--model": MODEL,
            "--redis-url": self._redis_url,
            "--spool-dir": str(self.spools[name]),
        }
        flat = [part for pair in arguments.items() for part in pair]
        return self._spec(name, address, (*_STAND_IN, *flat), {})

    def _worker_variables(self, name: str, address: str) -> dict[str, str]:
        return {
            "WORKER_POOL": "easy" if name in EASY else "thinking",
            "WORKER_NAME": name,
            "WORKER_LISTEN": address,
            "WORKER_MODEL_DIR": str(importlib.resources.files("workers") / "reference"),
            "WORKER_MODEL_NAME": MODEL,
            "WORKER_REDIS_URL": self._redis_url,
            "WORKER_SPOOL_DIR": str(self.spools[name]),
            "WORKER_MAX_TRACES": "100000000",
            "WORKER_LOG_LEVEL": "warning",
        }

    def _router(self, name: str, addresses: Mapping[str, str]) -> ChildSpec:
        variables = {
            "ROUTER_LISTEN": addresses[name],
            "ROUTER_EASY_WORKERS": ",".join(addresses[worker] for worker in EASY),
            "ROUTER_THINKING_WORKERS": ",".join(addresses[worker] for worker in THINKING),
            "ROUTER_MODELS": MODEL,
            "ROUTER_REDIS_URL": self._redis_url,
            # A router that starts while Redis is away decides from what it has.
            "ROUTER_REDIS_WAIT_S": "0.5",
            "ROUTER_SPOOL_DIR": str(self.spools[name]),
            "ROUTER_MAX_TRACES": "100000000",
            "ROUTER_LOG_LEVEL": "warning",
        }
        return self._spec(name, addresses[name], ("-m", "router"), variables)

    def _spec(
        self, name: str, address: str, arguments: tuple[str, ...], variables: Mapping[str, str]
    ) -> ChildSpec:
        defaults = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        return ChildSpec(
            name=name,
            command=(sys.executable, *arguments),
            environment={**defaults, **os.environ, **variables},
            address=address,
        )


@asynccontextmanager
async def open_fleet(
    directory: Path, rng: Random, on_line: LineSink, *, real: bool
) -> AsyncIterator[Fleet]:
    """All of it serving; stopped at the end, whatever happened."""
    async with AsyncExitStack() as stack:
        fleet = Fleet(directory, rng, on_line, real=real)
        stack.push_async_callback(fleet.stop)
        await stack.enter_async_context(fleet.proxy)
        await fleet.start()
        yield fleet


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel that looks again at once for a process that was restarted."""
    options = (
        *rpc.channel_options(),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
    )
    return grpc.aio.insecure_channel(address, options=options)
