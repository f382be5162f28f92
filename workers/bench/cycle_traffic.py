"""The traffic of `ponder bench cycle`: two mixes of questions, asked by gRPC, one by one or paired.

Usual traffic has the easy families and Countdown with 3 numbers. In shifted traffic they are one
half; the other half are systems of equations and Countdown with 5 and 6 numbers.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import click
import grpc
from rich.console import Console
from rich.progress import Progress

from ponder.v1.budget_pb2 import Sampling
from ponder.v1.reasoner_pb2 import PlanRequest, ReasonRequest
from workers.training.questions import EASY_FAMILIES, SYSTEM_FAMILY, Question, QuestionSource

if TYPE_CHECKING:
    from ponder.v1.reasoner_pb2_grpc import ReasonerAsyncStub

Mix = Mapping[str, int]
"""Weights of families."""

USUAL: Final[Mix] = MappingProxyType(
    {"capital": 2, "equation": 2, "arithmetic": 2, "countdown-3": 4}
)
SHIFTED: Final[Mix] = MappingProxyType(
    {
        **{"capital": 2, "equation": 2, "arithmetic": 2, "countdown-3": 4},
        **{"system": 8, "countdown-5": 1, "countdown-6": 1},
    }
)

_MAX_CONCURRENT: Final = 24
_FLOWING_CONCURRENT: Final = 4
# As long as routers let a request run: a deadline would lower the first budgets of a busy machine.
_TIMEOUT_S: Final = 600.0
_MAX_IDS_TRIED: Final = 200
_FOLLOW_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.2
_NUM_PROBES: Final = 20
_PROBE: Final = "Solve 3x + 5 = 20"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question under the id of its request; its seed is the same whenever it is asked."""

    request_id: str
    question: Question
    seed: int

    def request(self) -> ReasonRequest:
        return ReasonRequest(
            request_id=self.request_id,
            prompt=self.question.prompt,
            sampling=Sampling(seed=self.seed),
        )


@dataclass(slots=True)
class Health:
    """What must not happen while classifiers change: counted over all requests."""

    asked: int = 0
    failed: int = 0
    degraded: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def fail(self, error: grpc.aio.AioRpcError) -> None:
        self.failed += 1
        self.reasons[f"{error.code().name}: {error.details()}"] += 1

    def degrade(self, reason: str) -> None:
        self.degraded += 1
        self.reasons[reason] += 1


def questions(mix: Mix, seed: str) -> Iterator[Question]:
    """Endless; of the split that the model was not trained on, the same for the same seed."""
    rng = Random(seed)
    source = QuestionSource(rng, "test")
    while True:
        yield _drawn(source, rng.choices(list(mix), list(mix.values()))[0])


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name)


def _drawn(source: QuestionSource, family: str) -> Question:
    if family in EASY_FAMILIES:
        return source.easy(family)
    if family == SYSTEM_FAMILY:
        return source.system()
    return source.countdown(int(family.removeprefix("countdown-")))


class Traffic:
    """Asks one router. `health` counts what failed or was degraded, by then."""

    def __init__(self, stub: ReasonerAsyncStub, seed: int) -> None:
        self._stub = stub
        self._seed = seed
        self.health = Health()

    async def ask(self, name: str, mix: Mix, number: int) -> list[Asked]:
        """So many new questions of a mix. Returns those that were answered, at least one.

        Raises click.ClickException when none was.
        """
        drawn = questions(mix, f"{self._seed}:{name}")
        asked = [Asked(f"{_slug(name)}-{i}", next(drawn), i) for i in range(number)]
        return await self._ask_all(name, asked)

    async def ask_pairs(
        self, name: str, mix: Mix, number: int, versions: tuple[str, str]
    ) -> list[tuple[Asked, Asked]]:
        """New questions, each asked twice: once decided by either version. Both must decide now,
        one of them as canary. Returns the pairs of which both were answered.
        """
        drawn = questions(mix, f"{self._seed}:{name}")
        pairs = []
        for i in range(number):
            question = next(drawn)
            ids = await self._ids_deciding(f"{name}-{i}", question, versions)
            pairs.append((Asked(ids[0], question, i), Asked(ids[1], question, i)))
        answered = set(await self._ask_all(name, [asked for pair in pairs for asked in pair]))
        return [pair for pair in pairs if answered.issuperset(pair)]

    @asynccontextmanager
    async def flowing(self, name: str, mix: Mix) -> AsyncIterator[None]:
        """Requests go on, a few at a time, as long as the block runs."""
        drawn, numbers, is_over = questions(mix, f"{self._seed}:{name}"), count(), asyncio.Event()

        async def keep_asking() -> None:
            while not is_over.is_set():
                i = next(numbers)
                await self._ask(Asked(f"{name}-{i}", next(drawn), i))

        flows = [asyncio.create_task(keep_asking()) for _ in range(_FLOWING_CONCURRENT)]
        try:
            yield
        finally:
            is_over.set()
            await asyncio.gather(*flows)

    async def _ask_all(self, name: str, asked: Sequence[Asked]) -> list[Asked]:
        slots = asyncio.Semaphore(_MAX_CONCURRENT)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(name, total=len(asked))

            async def one(item: Asked) -> bool:
                async with slots:
                    is_answered = await self._ask(item)
                progress.advance(task)
                return is_answered

            found = await asyncio.gather(*map(one, asked))
        if not any(found):
            raise click.ClickException(f"{name}: every request failed: {dict(self.health.reasons)}")
        return [item for item, is_answered in zip(asked, found, strict=True) if is_answered]

    async def _ask(self, asked: Asked) -> bool:
        self.health.asked += 1
        try:
            reply = await self._stub.Reason(asked.request(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            self.health.fail(error)
            return False
        if reply.decision.degraded:
            self.health.degrade(reply.decision.degraded_reason)
        return True

    async def wait_until(self, version: str, *, decides_all: bool) -> None:
        """Returns when the router has followed: the version decides some requests, or all.

        Raises TimeoutError.
        """
        async with asyncio.timeout(_FOLLOW_S):
            while True:
                deciding = {await self._deciding(uuid4().hex, _PROBE) for _ in range(_NUM_PROBES)}
                if deciding == {version} or (version in deciding and not decides_all):
                    return
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _deciding(self, request_id: str, prompt: str) -> str:
        """The version that decides for this id."""
        request = ReasonRequest(request_id=request_id, prompt=prompt)
        reply = await self._stub.Plan(PlanRequest(request=request), timeout=_TIMEOUT_S)
        return reply.decision.classifier_version

    async def _ids_deciding(
        self, name: str, question: Question, versions: tuple[str, str]
    ) -> tuple[str, str]:
        """Ids for which each of the versions decides: which does follows from the id alone."""
        found: dict[str, str] = {}
        for i in range(_MAX_IDS_TRIED):
            request_id = f"{name}-{i}"
            found.setdefault(await self._deciding(request_id, question.prompt), request_id)
            if found.keys() >= set(versions):
                return found[versions[0]], found[versions[1]]
        raise LookupError(f"of {versions} only {list(found)} decide")
