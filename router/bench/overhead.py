"""`ponder bench overhead`: what the router adds to a call, and how much throughput it takes.

The same calls go through the router and straight to the workers, in turn. The workers are stubs
that answer at once, so that the difference is the router. It has one core, all the rest the others.
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click
import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from ponder import rpc
from ponder.cli.bench import bench_options
from ponder.cli.child import ChildExited
from ponder.cli.log import LastLines, say
from ponder.embedded_redis import EmbeddedRedisError
from ponder.figures import BenchReport
from ponder.v1 import reasoner_pb2_grpc, worker_pb2_grpc
from ponder.v1.budget_pb2 import Sampling
from ponder.v1.reasoner_pb2 import ReasonRequest
from ponder.v1.worker_pb2 import Settlement, ThinkRequest
from router.bench import overhead_litellm, overhead_stack
from router.bench.overhead_load import Call, at_once, at_rate

_PROMPTS = (
    "What is the capital of France?",
    "Solve 3x + 5 = 20",
    "How much is 47 - 9 + 11 - 12 + 10?",
    "Reach 24 using each of 3, 5, 6 and 8 once.",
    "Make 65 from 11, 9, 6, 2, 7 and 12, using every number exactly once.",
)
_TIMEOUT_S = 120.0
_WARM_UP_CALLS = 200
_CONCURRENCY = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    rounds: int
    calls_per_round: int
    closed_calls: int


_FULL = _Size(rounds=10, calls_per_round=400, closed_calls=4_096)
_QUICK = _Size(rounds=1, calls_per_round=100, closed_calls=1_024)


@click.command()
@bench_options
@click.option("--rate", default=200.0, show_default=True, help="Calls per second.")
@click.option(
    "--work-s",
    default=5.0,
    show_default=True,
    help="Work of one call for the loss of throughput: 1,024 at once are 205 calls/s at best.",
)
@click.option(
    "--litellm",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python of an environment with litellm[proxy]: its complexity router, in the same run.",
)
@click.option("--litellm-rate", default=20.0, show_default=True, help="Calls per second for it.")
def overhead(
    json_path: str | None,
    quick: bool,
    rate: float,
    work_s: float,
    litellm: Path | None,
    litellm_rate: float,
) -> None:
    """What the router adds to a call: time, and loss of throughput at 1,024 calls at once."""
    size = _QUICK if quick else _FULL
    log = LastLines()
    try:
        figures, controls = asyncio.run(_measure(size, rate, work_s, log))
        if litellm is not None:
            peer = asyncio.run(
                overhead_litellm.measure(litellm, litellm_rate, size.calls_per_round, log)
            )
            controls |= peer
            figures["hop_ratio_to_litellm"] = round(
                figures["hop_p50_ms"] / peer["litellm_hop_p50_ms"], 4
            )
    except (ChildExited, EmbeddedRedisError, overhead_litellm.PeerFailed) as error:
        log.show()
        raise click.ClickException(str(error)) from error
    report = BenchReport(name="overhead", figures=figures, controls=controls)
    if json_path != "-":
        Console().print(_table(report))
    if json_path:
        report.write_json(json_path)


async def _measure(
    size: _Size, rate: float, work_s: float, log: LastLines
) -> tuple[dict[str, float], dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as directory:
        say(f"{size.rounds} times {size.calls_per_round} calls at {rate:g}/s, straight and routed")
        async with overhead_stack.running(Path(directory) / "idle", 0.0, log) as addresses:
            times_ms, fastest = await _hops(addresses, size, rate)
        say(f"{size.closed_calls} calls of {work_s:g} s, {_CONCURRENCY} at once")
        async with overhead_stack.running(Path(directory) / "busy", work_s, log) as addresses:
            rates = await _rates(addresses, _CONCURRENCY, size.closed_calls)
    routed, straight = (_percentiles(times_ms[way]) for way in ("routed", "straight"))
    figures = {
        **{f"hop_{name}_ms": round(routed[name] - straight[name], 3) for name in routed},
        "throughput_loss": round(1.0 - rates["routed"] / rates["straight"], 4),
        "routed_calls_per_s": round(rates["routed"], 1),
        "most_routed_calls_per_s": round(fastest["routed"], 1),
        "rate_per_s": rate,
        "work_s": work_s,
        "concurrency": _CONCURRENCY,
    }
    controls = {
        **{f"straight_{name}_ms": round(value, 3) for name, value in straight.items()},
        "straight_calls_per_s": round(rates["straight"], 1),
        "most_straight_calls_per_s": round(fastest["straight"], 1),
    }
    return figures, controls


async def _hops(
    addresses: overhead_stack.Addresses, size: _Size, rate: float
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds of each call by way; and the most calls per second, with 32 at once."""
    times_ms: dict[str, list[float]] = {"straight": [], "routed": []}
    async with _calls(addresses) as calls:
        for call in calls.values():
            await at_rate(call, rate, min(_WARM_UP_CALLS, size.calls_per_round))
        for _ in range(size.rounds):
            for way, call in calls.items():
                times_ms[way] += await at_rate(call, rate, size.calls_per_round)
        fastest = {way: await at_once(call, 32, 2_000) for way, call in calls.items()}
    return times_ms, fastest


async def _rates(
    addresses: overhead_stack.Addresses, concurrency: int, num_calls: int
) -> dict[str, float]:
    async with _calls(addresses) as calls:
        return {way: await at_once(call, concurrency, num_calls) for way, call in calls.items()}


@asynccontextmanager
async def _calls(addresses: overhead_stack.Addresses) -> AsyncIterator[dict[str, Call]]:
    async with (
        rpc.open_channel(addresses.router) as router,
        rpc.open_channel(addresses.workers[0]) as worker,
    ):
        yield {"straight": _straight(worker), "routed": _routed(router)}


def _routed(channel: grpc.aio.Channel) -> Call:
    stub = reasoner_pb2_grpc.ReasonerStub(channel)
    prompts = itertools.cycle(_PROMPTS)

    async def call() -> None:
        await stub.Reason(ReasonRequest(prompt=next(prompts)), timeout=_TIMEOUT_S)

    return call


def _straight(channel: grpc.aio.Channel) -> Call:
    """The call that the router would make, with a settlement of the usual size."""
    stub = worker_pb2_grpc.WorkerStub(channel)
    prompts, rng = itertools.cycle(_PROMPTS), Random(0)
    features = [rng.randrange(1 << 20) for _ in range(200)]

    async def call() -> None:
        request = ThinkRequest(
            request_id=f"{rng.getrandbits(128):032x}",
            model=overhead_stack.MODEL,
            prompt=next(prompts),
            thinking_budget=500,
            max_answer_tokens=256,
            sampling=Sampling(seed=1),
            settlement=Settlement(tenant="local", prior_hazards=[0.1] * 9, features=features),
        )
        async for _ in stub.Think(request, timeout=_TIMEOUT_S):
            pass

    return call


def _percentiles(times_ms: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(times_ms, q)) for q in (50, 90, 99)}


def _table(report: BenchReport) -> Table:
    figures: Mapping[str, float] = {**report.figures, **report.controls}
    table = Table(title=f"the router on one core, {report.device}")
    for column in ("", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if not column else "right")
    for label, name in (
        (f"added by the router, {figures['rate_per_s']:g} calls/s", "hop"),
        ("control: straight to a worker", "straight"),
        ("added by LiteLLM's proxy", "litellm_hop"),
        ("control: straight to its upstream", "litellm_straight"),
    ):
        if f"{name}_p50_ms" in figures:
            row = (f"{figures[f'{name}_p{q}_ms']:.2f}" for q in (50, 90, 99))
            table.add_row(label, *row)
    table.caption = (
        f"{_CONCURRENCY} at once, {figures['work_s']:g} s of work each: "
        f"{figures['routed_calls_per_s']:.0f} calls/s, straight "
        f"{figures['straight_calls_per_s']:.0f}, loss {figures['throughput_loss']:.1%}; "
        f"without work: {figures['most_routed_calls_per_s']:.0f} calls/s, straight "
        f"{figures['most_straight_calls_per_s']:.0f}"
    )
    return table
