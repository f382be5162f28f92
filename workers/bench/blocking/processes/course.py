"""What is asked, in which order: needs, times alone, capacity, then arrivals in turn."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ponder import rpc
from ponder.cli.child import ChildExited
from ponder.cli.log import LastLines, say
from ponder.embedded_redis import EmbeddedRedisError
from ponder.v1 import budget_pb2, reasoner_pb2_grpc
from workers.bench.blocking.jobs import EASY_NEED_TOKENS, EASY_SHARE
from workers.bench.blocking.outcomes import think
from workers.bench.blocking.processes.asking import (
    Arrivals,
    AskingFailed,
    Pool,
    Question,
    Reply,
    ask_alone,
    ask_each,
    ask_openly,
    raise_failed,
)
from workers.bench.blocking.processes.stacks import NUM_SLOTS, ONE_QUEUE, PONDER, running

if TYPE_CHECKING:
    from ponder.v1.reasoner_pb2_grpc import ReasonerAsyncStub

LOAD: Final = 0.85
_LONGEST_NEED_TOKENS: Final = 1_500
"""A hard one of ten thousand tokens would take longer than all arrivals last."""

Stubs = Mapping[str, "ReasonerAsyncStub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is asked. A round is the same arrivals for both; a question is asked alone as often
    as all are within `alone_s`, at least once.
    """

    candidates: int = 150
    easy: int = 30
    hard: int = 8
    alone_s: float = 30.0
    capacity_requests: int = 60
    rounds: int = 2
    round_s: float = 50.0


QUICK: Final = Plan(
    candidates=24, easy=4, hard=1, alone_s=0.0, capacity_requests=10, rounds=1, round_s=4.0
)


@dataclass(frozen=True, slots=True)
class Round:
    """The replies of each subject, in the order of arrival. `capacity_tokens_per_s`: sampled by the
    one queue with all slots taken, just before.
    """

    capacity_tokens_per_s: float
    arrivals: Arrivals
    replies: Mapping[str, Sequence[Reply]]


@dataclass(frozen=True, slots=True)
class Course:
    """All that was asked beside others."""

    pool: Pool
    rounds: Sequence[Round]


def take(plan: Plan) -> Course:
    """Starts the processes, asks, and stops them. Raises click.ClickException."""
    easy, hard = _known_questions(plan)
    if not easy or not hard:
        raise click.ClickException(f"{plan.candidates} prompts: no easy one, or no hard one")
    log = LastLines()
    try:
        return asyncio.run(_run(plan, easy, hard, log))
    except (ChildExited, EmbeddedRedisError, AskingFailed) as error:
        log.show()
        raise click.ClickException(str(error)) from error


async def _run(
    plan: Plan, easy: Sequence[Question], hard: Sequence[Question], log: LastLines
) -> Course:
    async with AsyncExitStack() as exits:
        directory = exits.enter_context(tempfile.TemporaryDirectory(prefix="ponder-bench-"))
        say("starting two routers and four workers")
        addresses = await exits.enter_async_context(running(Path(directory), log))
        stubs = {}
        for name, address in addresses.items():
            channel = await exits.enter_async_context(rpc.open_channel(address))
            stubs[name] = reasoner_pb2_grpc.ReasonerStub(channel)
        pool = await _measured_pool(stubs[ONE_QUEUE], easy, hard, plan.alone_s)
        rounds = [await _round(stubs, pool, plan, number) for number in range(1, plan.rounds + 1)]
        return Course(pool, rounds)


async def _round(stubs: Stubs, pool: Pool, plan: Plan, number: int) -> Round:
    """Who goes first changes from round to round, as a machine's speed may."""
    capacity = await _capacity_tokens_per_s(stubs[ONE_QUEUE], pool, plan)
    rate = LOAD * capacity / pool.mean_tokens
    arrivals = Arrivals.draw(pool, rate, plan.round_s, seed=number)
    say(
        f"round {number} of {plan.rounds}: {len(arrivals.arrival_s)} requests in {plan.round_s:g} s"
        f", as {capacity:.0f} tokens/s are sampled with all slots taken"
    )
    replies = {}
    for name in (PONDER, ONE_QUEUE)[:: 1 if number % 2 else -1]:
        say(f"asking {name}")
        replies[name] = await ask_openly(stubs[name], pool, arrivals)
    return Round(capacity, arrivals, replies)


def _known_questions(plan: Plan) -> tuple[list[Question], list[Question]]:
    """So many easy and hard ones, or as many as there are; none whose thinking was cut."""
    say(f"thinking about {plan.candidates} prompts")
    easy: list[Question] = []
    hard: list[Question] = []
    for prompt, seed, outcome in think(plan.candidates, _LONGEST_NEED_TOKENS):
        if outcome.stop == budget_pb2.THINKING_STOP_FINISHED:
            kind = hard if outcome.thinking_tokens > EASY_NEED_TOKENS else easy
            kind.append(Question(prompt, seed))
    # Those that need least end first.
    return sorted(easy, key=_seed)[: plan.easy], sorted(hard, key=_seed)[: plan.hard]


def _seed(question: Question) -> int:
    return question.seed


async def _measured_pool(
    stub: ReasonerAsyncStub, easy: Sequence[Question], hard: Sequence[Question], alone_s: float
) -> Pool:
    say(f"asking {len(easy)} easy and {len(hard)} hard ones alone")
    alone = await ask_alone(stub, [*easy, *hard], alone_s)
    return Pool(easy=alone[: len(easy)], hard=alone[len(easy) :])


async def _capacity_tokens_per_s(stub: ReasonerAsyncStub, pool: Pool, plan: Plan) -> float:
    """Of the mix, the longest first: so nearly all slots are taken until the end."""
    say("measuring the capacity")
    requests = [question.request for question in _longest_first(pool, plan.capacity_requests)]
    begun_s = asyncio.get_running_loop().time()
    replies = await ask_each(stub, requests, 2 * NUM_SLOTS)
    raise_failed(replies)
    took_s = asyncio.get_running_loop().time() - begun_s
    return sum(reply.sampled_tokens for reply in replies) / took_s


def _longest_first(pool: Pool, count: int) -> list[Question]:
    num_easy = round(EASY_SHARE * count)
    drawn = [*_in_turn(pool.easy, num_easy), *_in_turn(pool.hard, count - num_easy)]
    return sorted(drawn, key=lambda question: -question.sampled_tokens)


def _in_turn(questions: Sequence[Question], count: int) -> Iterator[Question]:
    return (questions[index % len(questions)] for index in range(count))
