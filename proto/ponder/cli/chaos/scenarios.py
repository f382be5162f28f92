"""What is done to the fleet, one coroutine per kind of accident. Each leaves it whole."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from types import MappingProxyType
from typing import Final

from ponder.cli.chaos.fleet import ROUTERS, WORKERS, Fleet, open_channel
from ponder.cli.chaos.load import Traffic
from ponder.v1 import worker_pb2, worker_pb2_grpc

CLIENTS: Final = 12
_STREAMS: Final = 12
_OVERLOAD_NEED: Final = 4_000
_OVERLOADED: Final = 8
_SETTLE_IN_S: Final = 1.0
_VOLUME_CLIENTS: Final = 32
_LOSS: Final = 0.05
_DRAINED: Final = (WORKERS[0], ROUTERS[0], *WORKERS[1:], ROUTERS[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything."""

    kills: int
    router_restarts: int
    redis_rounds: int
    hangs: int
    lossy_s: float
    overload_s: float
    drains: int
    collapsed_requests: int
    volume_reports: int


FULL: Final = Size(
    kills=100,
    router_restarts=10,
    redis_rounds=3,
    hangs=5,
    lossy_s=30.0,
    overload_s=15.0,
    drains=18,
    collapsed_requests=300,
    volume_reports=100_000,
)
QUICK: Final = Size(
    kills=3,
    router_restarts=1,
    redis_rounds=1,
    hangs=1,
    lossy_s=2.0,
    overload_s=2.0,
    drains=2,
    collapsed_requests=40,
    volume_reports=500,
)


@dataclass
class Stage:
    """Where a scenario plays, and what it measured besides the traffic."""

    fleet: Fleet
    traffic: Traffic
    size: Size
    say: Callable[[str], None]
    figures: dict[str, float] = field(default_factory=dict)


async def kills(stage: Stage) -> None:
    """Workers are killed in turn while all the others serve."""
    fleet, num_kills = stage.fleet, stage.size.kills
    async with stage.traffic.running(CLIENTS):
        for number in range(num_kills):
            name = WORKERS[number % len(WORKERS)]
            await asyncio.sleep(_SETTLE_IN_S / 2)
            await fleet.kill(name)
            stage.say(f"killed {name}, {number + 1} of {num_kills}")
            await fleet.start_one(name)
    stage.figures["kills"] = num_kills


async def routers(stage: Stage) -> None:
    """Routers are killed and restarted in turn; every second one with SIGTERM."""
    async with stage.traffic.running(CLIENTS):
        for number in range(stage.size.router_restarts):
            name = ROUTERS[number % len(ROUTERS)]
            await asyncio.sleep(_SETTLE_IN_S)
            await (stage.fleet.drain(name) if number % 2 else stage.fleet.kill(name))
            stage.say(f"ended {name}")
            await stage.fleet.start_one(name)
        await asyncio.sleep(_SETTLE_IN_S)
    stage.figures["router_restarts"] = stage.size.router_restarts


async def redis(stage: Stage) -> None:
    """Redis is stopped, paused, emptied, and failed over to a replica that lags."""
    async with stage.traffic.running(CLIENTS):
        for _ in range(stage.size.redis_rounds):
            for accident in (_stop_redis, _pause_redis, _empty_redis, _fail_over_redis):
                stage.say(accident.__name__.strip("_").replace("_", " "))
                await accident(stage.fleet)
                await asyncio.sleep(_SETTLE_IN_S)
    stage.figures["redis_gone_failures"] = stage.traffic.failed.total()


async def hang(stage: Stage) -> None:
    """A worker is stopped, not killed: its connections stay open and say nothing."""
    longest_s = 0.0
    for number in range(stage.size.hangs):
        name = WORKERS[1 + number % (len(WORKERS) - 1)]
        longest_s = max(longest_s, await _hang(stage, name))
        stage.say(f"stopped {name}: {longest_s:.2f} s at most until its requests went on")
    stage.figures["hung_worker_seconds"] = round(longest_s, 3)


async def loss(stage: Stage) -> None:
    """One in twenty replies of Redis is lost, and its connection with it."""
    proxy = stage.fleet.proxy
    async with stage.traffic.running(CLIENTS), _losing_replies(stage.fleet):
        await asyncio.sleep(stage.size.lossy_s)
    stage.figures["lost_replies"] = proxy.num_lost


async def overload(stage: Stage) -> None:
    """Eight times as many long requests at once as there are slots."""
    slots = 8 * len(WORKERS)

    async def ask(number: int) -> None:
        await stage.traffic.reason(number, _OVERLOAD_NEED)

    rates = {}
    for times in (1, _OVERLOADED):
        told_before, shed_before = len(stage.traffic.told), stage.traffic.num_shed
        started_s = time.monotonic()
        async with stage.traffic.running(times * slots, ask):
            await asyncio.sleep(stage.size.overload_s)
        rates[times] = (len(stage.traffic.told) - told_before) / (time.monotonic() - started_s)
        stage.say(f"{times}x: {rates[times]:.1f} answers a second")
    stage.figures["overload_shed"] = stage.traffic.num_shed - shed_before
    stage.figures["overload_goodput"] = round(rates[_OVERLOADED] / rates[1], 3)


async def drain(stage: Stage) -> None:
    """Every worker and every router is replaced in turn, by SIGTERM."""
    async with stage.traffic.running(CLIENTS):
        for name in islice(cycle(_DRAINED), stage.size.drains):
            await asyncio.sleep(_SETTLE_IN_S / 2)
            await stage.fleet.drain(name)
            stage.say(f"drained {name}")
            await stage.fleet.start_one(name)
    stage.figures["drain_errors"] = stage.traffic.failed.total() + stage.traffic.num_repeated


async def collapse(stage: Stage) -> None:
    """Every worker takes calls and fails each of them."""
    await _toggle_failing(stage.fleet)
    before = await _num_failed_calls(stage.fleet)
    left = iter(range(stage.size.collapsed_requests))

    async def ask_all() -> None:
        for _ in left:
            await stage.traffic.reason(stage.traffic.next_number())

    await asyncio.gather(*(ask_all() for _ in range(CLIENTS)))
    calls = await _num_failed_calls(stage.fleet) - before
    await _toggle_failing(stage.fleet)
    # Nobody had anywhere to go.
    stage.figures["collapsed_failures"] = stage.traffic.failed.total()
    stage.figures["retry_amplification"] = round(calls / stage.size.collapsed_requests, 3)
    stage.traffic.failed.clear()
    stage.figures["recovered_s"] = round(await _recovery_s(stage.traffic), 3)


async def volume(stage: Stage) -> None:
    """Very many reports straight to the workers, with all of that to the ledger meanwhile."""
    fleet, traffic = stage.fleet, stage.traffic
    harm = asyncio.create_task(_harm(stage))
    async with traffic.running(_VOLUME_CLIENTS, traffic.think), _losing_replies(fleet):
        while len(traffic.told) < stage.size.volume_reports:
            await asyncio.sleep(_SETTLE_IN_S)
            stage.say(f"{len(traffic.told):,} of {stage.size.volume_reports:,} reports")
            if harm.done():
                harm.result()
    # Not in the middle of a restart.
    harm.cancel()
    with suppress(asyncio.CancelledError):
        await harm
    await _make_whole(fleet)


SCENARIOS: Final[Mapping[str, Callable[[Stage], Awaitable[None]]]] = MappingProxyType(
    {
        "kills": kills,
        "routers": routers,
        "redis": redis,
        "hang": hang,
        "loss": loss,
        "overload": overload,
        "drain": drain,
        "collapse": collapse,
        "volume": volume,
    }
)


async def _stop_redis(fleet: Fleet) -> None:
    fleet.kill_redis()
    await asyncio.sleep(2 * _SETTLE_IN_S)
    fleet.start_redis()


async def _pause_redis(fleet: Fleet) -> None:
    assert fleet.redis is not None
    os.kill(fleet.redis.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(2 * _SETTLE_IN_S)
    finally:
        os.kill(fleet.redis.pid, signal.SIGCONT)


async def _empty_redis(fleet: Fleet) -> None:
    async with fleet.ledger() as ledger:
        await ledger.client.flushall()


async def _fail_over_redis(fleet: Fleet) -> None:
    fleet.snapshot_redis()
    await asyncio.sleep(_SETTLE_IN_S)
    fleet.fail_over_redis()


async def _hang(stage: Stage, name: str) -> float:
    """Seconds from the stop of a worker until the last of its requests went on elsewhere."""
    traffic, member = stage.traffic, stage.fleet.members[name]
    stopped: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    streams = [
        asyncio.create_task(traffic.first_event_s(traffic.next_number(), stopped))
        for _ in range(_STREAMS)
    ]
    await asyncio.sleep(_SETTLE_IN_S / 10)
    member.signal(signal.SIGSTOP)
    stopped.set_result(time.monotonic())
    try:
        waits_s = [wait_s or 0.0 for wait_s in await asyncio.gather(*streams)]
    finally:
        member.signal(signal.SIGCONT)
    await asyncio.sleep(2 * _SETTLE_IN_S)
    return max(waits_s)


@asynccontextmanager
async def _losing_replies(fleet: Fleet) -> AsyncIterator[None]:
    fleet.proxy.loss = _LOSS
    try:
        yield
    finally:
        fleet.proxy.loss = 0.0


async def _toggle_failing(fleet: Fleet) -> None:
    for name in WORKERS:
        fleet.members[name].signal(signal.SIGUSR1)
    await asyncio.sleep(_SETTLE_IN_S / 2)


async def _num_failed_calls(fleet: Fleet) -> int:
    return sum([await _failed_calls_of(fleet.members[name].address) for name in WORKERS])


async def _failed_calls_of(address: str) -> int:
    async with open_channel(address) as channel:
        call = worker_pb2_grpc.WorkerStub(channel).Watch(worker_pb2.WatchRequest())
        async for load in call:
            return int(load.failed_requests)
    raise AssertionError("Watch never ends by itself")


async def _recovery_s(traffic: Traffic) -> float:
    """Until a request is answered again; what fails before is no wonder yet."""
    started_s = time.monotonic()
    num_told = len(traffic.told)
    while len(traffic.told) == num_told and time.monotonic() - started_s < 10 * _SETTLE_IN_S:
        await traffic.reason(traffic.next_number())
    elapsed_s = time.monotonic() - started_s
    if len(traffic.told) > num_told:
        traffic.failed.clear()
    return elapsed_s


async def _harm(stage: Stage) -> None:
    """Kills a worker every few seconds, and now and then Redis."""
    fleet = stage.fleet
    for number in range(1_000_000):
        name = WORKERS[number % len(WORKERS)]
        await asyncio.sleep(3 * _SETTLE_IN_S)
        await fleet.kill(name)
        stage.figures["kills"] = stage.figures.get("kills", 0) + 1
        await fleet.start_one(name)
        if number % 5 == 4:
            await _stop_redis(fleet)


async def _make_whole(fleet: Fleet) -> None:
    if fleet.redis is None:
        fleet.start_redis()
    for name in WORKERS:
        if fleet.members[name].child is None:
            await fleet.start_one(name)
