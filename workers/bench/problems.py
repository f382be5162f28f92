"""`ponder bench problems`: reasoning-gym problems through a whole stack, by gRPC.

Problems and scorer are reasoning-gym's own `countdown`, in the reference model's range; a problem
that the model was trained on, or that no left chain within its range solves, is left out. The
books are part of the result: the ledger's totals must equal the sum of the replies' usage.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from reasoning_gym.games.countdown import CountdownConfig, CountdownDataset
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ponder import rpc
from ponder.cli.bench import bench_options
from ponder.cli.bench_stack import run_bench_stack
from ponder.cli.processes import REFERENCE_MODEL, Addresses
from ponder.counts import Totals
from ponder.figures import BenchReport
from ponder.ledger import Ledger
from ponder.v1 import reasoner_pb2_grpc
from ponder.v1.budget_pb2 import Sampling, ThinkingStop, Tier
from ponder.v1.reasoner_pb2 import ReasonReply, ReasonRequest
from workers.training.countdown import MAX_INPUT, MAX_VALUE, SIZES, Problem, is_solvable
from workers.training.shares import Share

if TYPE_CHECKING:
    from ponder.v1.reasoner_pb2_grpc import ReasonerAsyncStub

_NUM_PROBLEMS, _NUM_QUICK_PROBLEMS = 200, 12
_MAX_CONCURRENT = 16
_TIMEOUT_S = 120.0
_TENANT = "local"
_SIZES = [size for size in SIZES if size > 2]


@dataclass(frozen=True, slots=True)
class Answered:
    """One problem and what came back."""

    reply: ReasonReply
    is_right: bool


@click.command()
@bench_options
@click.option("--seed", default=2026, show_default=True, help="Of the problems.")
def problems(json_path: str | None, quick: bool, seed: int) -> None:
    """200 reasoning-gym problems by gRPC: right answers, tokens, tiers, exact books."""
    count = _NUM_QUICK_PROBLEMS if quick else _NUM_PROBLEMS
    dataset = CountdownDataset(_range_of_the_model(seed))
    entries = [entry for entry, _ in zip(_held_out(dataset), range(count), strict=False)]

    async def ask(addresses: Addresses) -> tuple[list[Answered], Totals]:
        return await _ask_all(addresses, dataset, entries)

    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as directory:
        answered, totals = run_bench_stack(Path(directory), ask)
    report = _report(answered, totals)
    if json_path != "-":
        Console().print(_table(report))
    if json_path:
        report.write_json(json_path)
    if report.figures["ledger_difference"]:
        raise click.ClickException("the ledger's totals differ from the sum of the replies")


def _range_of_the_model(seed: int) -> CountdownConfig:
    return CountdownConfig(
        min_numbers=min(_SIZES),
        max_numbers=max(_SIZES),
        min_value=1,
        max_value=MAX_INPUT,
        min_target=1,
        max_target=MAX_VALUE,
        seed=seed,
        size=100 * _NUM_PROBLEMS,
    )


def _held_out(dataset: CountdownDataset) -> Iterator[dict[str, Any]]:
    for index in range(len(dataset)):
        entry = dataset[index]
        numbers, target = entry["metadata"]["numbers"], entry["metadata"]["target"]
        problem = Problem(tuple(numbers), target)
        if problem.split == "test" and target not in numbers and is_solvable(problem):
            yield entry


async def _ask_all(
    addresses: Addresses, dataset: CountdownDataset, entries: Sequence[dict[str, Any]]
) -> tuple[list[Answered], Totals]:
    slots = asyncio.Semaphore(_MAX_CONCURRENT)
    progress = Progress(console=Console(stderr=True), transient=True)
    async with rpc.open_channel(addresses.router) as channel:
        stub = reasoner_pb2_grpc.ReasonerStub(channel)
        with progress:
            task = progress.add_task("asking", total=len(entries))

            async def ask(index: int, entry: dict[str, Any]) -> Answered:
                async with slots:
                    answered = await _ask(stub, dataset, entry, seed=index)
                progress.advance(task)
                return answered

            answered = await asyncio.gather(*(ask(i, e) for i, e in enumerate(entries)))
    ledger = Ledger.from_url(addresses.redis_url)
    try:
        return answered, await ledger.totals(REFERENCE_MODEL, _TENANT)
    finally:
        await ledger.close()


async def _ask(
    stub: "ReasonerAsyncStub", dataset: CountdownDataset, entry: dict[str, Any], seed: int
) -> Answered:
    request = ReasonRequest(prompt=entry["question"], sampling=Sampling(seed=seed))
    reply = await stub.Reason(request, timeout=_TIMEOUT_S)
    return Answered(reply, dataset.score_answer(reply.answer.strip(), entry) == 1.0)


def _report(answered: Sequence[Answered], totals: Totals) -> BenchReport:
    replies = [item.reply for item in answered]
    right = Share.of(item.is_right for item in answered)
    summed = asdict(Totals())
    for reply in replies:
        for field, value in asdict(Totals.of(reply.usage)).items():
            summed[field] += value
    tiers = Counter(reply.decision.tier for reply in replies)
    stops = Counter(reply.thinking_stop for reply in replies)
    difference = sum(abs(summed[field] - value) for field, value in asdict(totals).items())
    return BenchReport(
        name="problems",
        figures={
            "problems": len(replies),
            "right": right.successes,
            "accuracy": right.value,
            **{f"tier_{Tier.Name(tier)[5:].lower()}": n for tier, n in sorted(tiers.items())},
            **{f"stop_{ThinkingStop.Name(s)[14:].lower()}": n for s, n in sorted(stops.items())},
            **{name: value for name, value in summed.items() if name != "requests"},
            "thinking_tokens_mean": summed["thinking_tokens"] / len(replies),
            "ledger_difference": difference,
        },
        intervals={"accuracy": right.interval},
        controls={f"ledger_{name}": value for name, value in asdict(totals).items()},
    )


def _table(report: BenchReport) -> Table:
    table = Table(title=f"reasoning-gym countdown through one stack, {report.device}")
    for column in ("figure", "replies", "ledger"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in report.figures.items():
        booked = report.controls.get(f"ledger_{name}")
        table.add_row(name, f"{value:g}", "" if booked is None else f"{booked:g}")
    return table
