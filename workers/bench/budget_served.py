"""The same questions through a whole stack: what its router decides, and what it really spends."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from ponder import rpc
from ponder.cli.bench_stack import run_bench_stack
from ponder.cli.processes import Addresses
from ponder.v1 import reasoner_pb2_grpc
from ponder.v1.budget_pb2 import Sampling
from ponder.v1.reasoner_pb2 import Decision, PlanRequest, ReasonReply, ReasonRequest
from workers.training.questions import Question

if TYPE_CHECKING:
    from ponder.v1.reasoner_pb2_grpc import ReasonerAsyncStub

WORTHS: Final = (250, 500, 1_000, 2_000, 4_000, 8_000)
"""Thinking tokens that one more finished request may cost."""

COVERAGES: Final = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)

_MAX_CONCURRENT: Final = 16
_TIMEOUT_S: Final = 300.0

Budgets = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """`by_worth` and `by_coverage` are the most thinking tokens of each question (num_questions,):
    where escalation ends, and the tier that was decided on. `replies` came at the defaults.
    """

    by_worth: Mapping[int, Budgets]
    by_coverage: Mapping[float, Budgets]
    replies: Sequence[ReasonReply]


def serve(questions: Sequence[Question]) -> Served:
    """Plan every question at every setting, then ask all of them. Raises click.ClickException."""

    async def use(addresses: Addresses) -> Served:
        async with rpc.open_channel(addresses.router) as channel:
            return await _use(reasoner_pb2_grpc.ReasonerStub(channel), questions)

    with tempfile.TemporaryDirectory(prefix="ponder-bench-") as directory:
        return run_bench_stack(Path(directory), use)


async def _use(stub: ReasonerAsyncStub, questions: Sequence[Question]) -> Served:
    async def plan(request: ReasonRequest) -> Decision:
        reply = await stub.Plan(PlanRequest(request=request), timeout=_TIMEOUT_S)
        return reply.decision

    async def ask(request: ReasonRequest) -> ReasonReply:
        return await stub.Reason(request, timeout=_TIMEOUT_S)

    by_worth, by_coverage = {}, {}
    for worth in WORTHS:
        requests = [ReasonRequest(prompt=q.prompt, worth_tokens=worth) for q in questions]
        decisions = await _each(plan, requests, f"planning, worth {worth}")
        by_worth[worth] = _budgets(decisions, [d.worth_tier for d in decisions])
    for coverage in COVERAGES:
        requests = [
            ReasonRequest(prompt=q.prompt, coverage=coverage, worth_tokens=0) for q in questions
        ]
        decisions = await _each(plan, requests, f"planning, coverage {coverage:g}")
        by_coverage[coverage] = _budgets(decisions, [d.tier for d in decisions])
    seeded = [
        ReasonRequest(prompt=question.prompt, sampling=Sampling(seed=index))
        for index, question in enumerate(questions)
    ]
    return Served(
        by_worth=by_worth,
        by_coverage=by_coverage,
        replies=await _each(ask, seeded, "asking"),
    )


def _budgets(decisions: Sequence[Decision], tiers: Sequence[int]) -> Budgets:
    """The budgets of these tiers, as the decisions tell them."""
    return np.array(
        [
            next(entry.budget_tokens for entry in decision.survival if entry.tier == tier)
            for decision, tier in zip(decisions, tiers, strict=True)
        ]
    )


async def _each(
    call: Callable[[ReasonRequest], Awaitable[T]], requests: Sequence[ReasonRequest], what: str
) -> list[T]:
    slots = asyncio.Semaphore(_MAX_CONCURRENT)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=len(requests))

        async def one(request: ReasonRequest) -> T:
            async with slots:
                reply = await call(request)
            progress.advance(task)
            return reply

        return await asyncio.gather(*map(one, requests))
