"""Questions to real routers, and when they were answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np
from numpy.typing import NDArray

from ponder.v1.budget_pb2 import Sampling
from ponder.v1.reasoner_pb2 import ReasonRequest
from workers.bench.blocking.jobs import EASY_SHARE, Floats, Ints

if TYPE_CHECKING:
    from ponder.v1.reasoner_pb2_grpc import ReasonerAsyncStub

TIMEOUT_S: Final = 240.0
_MARKER_TOKENS: Final = 2  # </think> and the end of sequence take a step of a slot, too


@dataclass(frozen=True, slots=True)
class Question:
    """`need_tokens`, `sampled_tokens` and `alone_s` (its response with nobody else there) are zero
    until they are measured.
    """

    prompt: str
    seed: int
    need_tokens: int = 0
    sampled_tokens: int = 0
    alone_s: float = 0.0

    @property
    def request(self) -> ReasonRequest:
        return ReasonRequest(prompt=self.prompt, sampling=Sampling(seed=self.seed))


@dataclass(frozen=True, slots=True)
class Pool:
    """Questions with known needs."""

    easy: Sequence[Question]
    hard: Sequence[Question]

    @property
    def mean_tokens(self) -> float:
        """Sampled by a mean arrival."""
        easy, hard = (
            float(np.mean([question.sampled_tokens for question in questions]))
            for questions in (self.easy, self.hard)
        )
        return EASY_SHARE * easy + (1 - EASY_SHARE) * hard


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One entry per request, in order: seconds from the beginning, and which question."""

    arrival_s: Floats
    is_hard: NDArray[np.bool_]
    index: Ints  # in its class

    @classmethod
    def draw(cls, pool: Pool, rate_per_s: float, duration_s: float, seed: int) -> Arrivals:
        """Poisson; nine easy to one hard."""
        rng = np.random.default_rng(seed)
        count = max(2, rng.poisson(rate_per_s * duration_s))
        is_hard = rng.random(count) >= EASY_SHARE
        return cls(
            arrival_s=np.sort(rng.uniform(0.0, duration_s, count)),
            is_hard=is_hard,
            index=rng.integers(np.where(is_hard, len(pool.hard), len(pool.easy))),
        )

    def question(self, pool: Pool, number: int) -> Question:
        questions = pool.hard if self.is_hard[number] else pool.easy
        return questions[int(self.index[number])]


@dataclass(frozen=True, slots=True)
class Reply:
    """`response_s` counts from the arrival. Without an `error` it was answered."""

    response_s: float
    thinking_tokens: int = 0
    sampled_tokens: int = 0
    error: grpc.StatusCode | None = None

    @property
    def is_refused(self) -> bool:
        """For the load, with a time to come back; any other error is a failure."""
        return self.error is grpc.StatusCode.RESOURCE_EXHAUSTED


async def ask(stub: ReasonerAsyncStub, request: ReasonRequest, since_s: float) -> Reply:
    """`since_s` on the monotonic clock: when it was due, however late it was sent."""
    try:
        reply = await stub.Reason(request, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return Reply(time.monotonic() - since_s, error=error.code())
    usage = reply.usage
    return Reply(
        response_s=time.monotonic() - since_s,
        thinking_tokens=usage.thinking_tokens,
        sampled_tokens=usage.thinking_tokens + usage.answer_tokens + _MARKER_TOKENS,
    )


async def ask_each(
    stub: ReasonerAsyncStub, requests: Sequence[ReasonRequest], num_at_once: int
) -> list[Reply]:
    """In order; the next one is sent when one of so many has been answered."""
    places = asyncio.Semaphore(num_at_once)

    async def one(request: ReasonRequest) -> Reply:
        async with places:
            return await ask(stub, request, time.monotonic())

    return list(await asyncio.gather(*map(one, requests)))


async def ask_alone(
    stub: ReasonerAsyncStub, questions: Sequence[Question], at_least_s: float
) -> list[Question]:
    """The questions with what each takes alone: the median of as many times as all were asked in
    this time. Raises AskingFailed.
    """
    begun_s = time.monotonic()
    requests = [question.request for question in questions]
    passes = [await ask_each(stub, requests, 1)]
    while time.monotonic() - begun_s < at_least_s:
        passes.append(await ask_each(stub, requests, 1))
    raise_failed([reply for replies in passes for reply in replies])
    return [
        replace(
            question,
            need_tokens=replies[0].thinking_tokens,
            sampled_tokens=replies[0].sampled_tokens,
            alone_s=float(np.median([reply.response_s for reply in replies])),
        )
        for question, replies in zip(questions, zip(*passes, strict=True), strict=True)
    ]


async def ask_openly(stub: ReasonerAsyncStub, pool: Pool, arrivals: Arrivals) -> list[Reply]:
    """Each when it is due, whoever has been answered by then; returns when all have been."""
    begun_s = time.monotonic()

    async def one(number: int) -> Reply:
        due_s = begun_s + arrivals.arrival_s[number]
        await asyncio.sleep(due_s - time.monotonic())
        return await ask(stub, arrivals.question(pool, number).request, due_s)

    return list(await asyncio.gather(*map(one, range(len(arrivals.arrival_s)))))


class AskingFailed(Exception):
    """A request that had nobody beside it, or whose load is none, was not answered."""


def raise_failed(replies: Sequence[Reply]) -> None:
    """Raises AskingFailed for the first that was not answered."""
    for reply in replies:
        if reply.error is not None:
            raise AskingFailed(f"a request was not answered: {reply.error.name}")
