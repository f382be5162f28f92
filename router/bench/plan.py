"""`ponder bench plan`: the router's own time per request.

Plan runs all of the router's work for a request (parsing, classification, posterior, policy) and
touches no worker. The control is a health check on the same server and connection: the price of a
gRPC call that does nothing. The two alternate, so that a noisy machine is unfair to neither.
"""

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ponder import rpc
from ponder.cli.bench import bench_options
from ponder.cli.bench_stack import run_bench_stack
from ponder.cli.processes import Addresses
from ponder.figures import BenchReport
from ponder.v1 import reasoner_pb2_grpc
from ponder.v1.reasoner_pb2 import PlanRequest, ReasonRequest

_NUM_CALLS, _NUM_QUICK_CALLS, _NUM_WARM_UP_CALLS = 2_000, 200, 50
_TIMEOUT_S = 5.0
_PROMPTS = (
    "What is the capital of France?",
    "Solve 3x + 5 = 20",
    "How much is 47 - 9 + 11 - 12 + 10?",
    "Reach 24 using each of 3, 5, 6 and 8 once.",
    "Make 65 from 11, 9, 6, 2, 7 and 12, using every number exactly once.",
)


@click.command()
@bench_options
def plan(json_path: str | None, quick: bool) -> None:
    """The router's own time per request: 2,000 Plan calls, one client."""
    num_calls = _NUM_QUICK_CALLS if quick else _NUM_CALLS

    async def measure(addresses: Addresses) -> dict[str, np.ndarray]:
        return await _alternate(addresses.router, num_calls)

    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as directory:
        times_ms = run_bench_stack(Path(directory), measure)
    report = BenchReport(
        name="plan",
        figures={**_percentiles("plan", times_ms["plan"]), "calls": num_calls},
        controls=_percentiles("health", times_ms["health"]),
    )
    if json_path != "-":
        Console().print(_table(report))
    if json_path:
        report.write_json(json_path)


async def _alternate(target: str, num_calls: int) -> dict[str, np.ndarray]:
    """Milliseconds of each call, by kind."""
    async with rpc.open_channel(target) as channel:
        reasoner = reasoner_pb2_grpc.ReasonerStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)  # its stubs leave out the methods
        calls: dict[str, Callable[[int], Awaitable[object]]] = {
            "plan": lambda i: reasoner.Plan(_request(i), timeout=_TIMEOUT_S),
            "health": lambda _: health.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S),
        }
        times_ms: dict[str, list[float]] = {kind: [] for kind in calls}
        rounds = range(-_NUM_WARM_UP_CALLS, num_calls)
        for i in track(rounds, "calling", console=Console(stderr=True), transient=True):
            for kind, call in calls.items():
                started_s = time.perf_counter()
                await call(i)
                if i >= 0:
                    times_ms[kind].append((time.perf_counter() - started_s) * 1e3)
    return {kind: np.array(values) for kind, values in times_ms.items()}


def _request(index: int) -> PlanRequest:
    return PlanRequest(request=ReasonRequest(prompt=_PROMPTS[index % len(_PROMPTS)]))


def _percentiles(name: str, times_ms: np.ndarray) -> dict[str, float]:
    return {f"{name}_p{q}_ms": round(float(np.percentile(times_ms, q)), 3) for q in (50, 90, 99)}


def _table(report: BenchReport) -> Table:
    table = Table(title=f"{report.figures['calls']:.0f} calls, one client, {report.device}")
    for column in ("", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="left" if not column else "right")
    for label, name, source in (
        ("Plan (all of the router's work)", "plan", report.figures),
        ("health check (control: a bare call)", "health", report.controls),
    ):
        table.add_row(label, *(f"{source[f'{name}_p{q}_ms']:.2f}" for q in (50, 90, 99)))
    return table
