"""Runs a decided request on the workers: segment after segment until it is answered.

A spent budget goes on one tier up where policy and deadline allow it; a lost worker is replaced.
Either way the next segment continues from the thinking that has arrived.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

import grpc

from router import policy, spans
from router.decisions import Decided, Event
from router.errors import DeadlineTooShort, InvalidRequest, NoWorkerAvailable, WorkersSaturated
from router.journey import Journey
from router.limits import CurrentLimits
from router.policy import Choice
from router.pools import Pools
from router.settlements import Settlements
from router.telemetry import Degraded, Telemetry
from router.tiers import TiersOf, pool_name
from router.worker_link import WorkerLink, WorkerLost, WorkerRefused

_LATE = "the deadline passed before the answer was complete; allow more time"


@dataclass(slots=True)
class _Attempts:
    """The workers that this request does not go back to."""

    excluded: frozenset[WorkerLink] = frozenset()
    num_lost: int = 0
    is_saturated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """`max_failovers`: how many lost workers one request survives."""

    tiers_of: TiersOf
    max_failovers: int


class Dispatcher:
    """Shared by all requests; what belongs to one is in its Journey."""

    def __init__(
        self,
        pools: Pools,
        limits: CurrentLimits,
        settlements: Settlements,
        telemetry: Telemetry,
        config: DispatcherConfig,
    ) -> None:
        self._pools = pools
        self._limits = limits
        self._settlements = settlements
        self._telemetry = telemetry
        self._config = config

    async def run(self, journey: Journey) -> AsyncGenerator[Event, None]:
        """Ends when the request is answered and settled. Raises RouterError."""
        attempts = _Attempts()
        try:
            while not journey.is_answered:
                if journey.is_exhausted and (raised := self._raise_or_answer(journey, attempts)):
                    yield raised
                async with aclosing(self._run_segment(journey, attempts)) as events:
                    async for event in events:
                        yield event
            if journey.owes_settlement:
                with journey.query.trace.child(spans.SETTLE):
                    journey.settled(await self._settlements.settle(journey))
        finally:
            if journey.owes_settlement:
                self._settlements.start(journey)

    async def _run_segment(
        self, journey: Journey, attempts: _Attempts
    ) -> AsyncGenerator[Event, None]:
        link = self._pick(journey, attempts)
        left_s = self._limits.left_s(journey.query)
        if left_s <= 0:
            raise DeadlineTooShort(_LATE)
        request = journey.next_request(
            answer_on_exhaustion=journey.must_answer or self._next_choice(journey, attempts) is None
        )
        try:
            with (
                spans.segment(journey, request, link) as span,
                link.expecting(journey.decision.expected_tokens(journey.thinking_tokens)),
            ):
                thought = link.think(request, left_s, journey.accepted, span.metadata)
                async with aclosing(thought) as events:
                    async for event in events:
                        if (shown := journey.receive(event)) is not None:
                            yield shown
                journey.end_segment()
        except WorkerLost as error:
            self._replace(link, journey, attempts, error)
        except WorkerRefused as refusal:
            _look_elsewhere(link, journey, attempts, refusal)

    def _pick(self, journey: Journey, attempts: _Attempts) -> WorkerLink:
        choice = journey.decision.choice
        found = self._pools.find(
            choice.pool, journey.query.model, choice.budget_tokens, attempts.excluded
        )
        if found is None:
            _refuse(journey, attempts)
        pool, link = found
        if pool != choice.pool:
            self._telemetry.count_degraded(Degraded.POOL)
            journey.move_to(pool)
        return link

    def _raise_or_answer(self, journey: Journey, attempts: _Attempts) -> Decided | None:
        """The budget is spent: one tier up, or the answer from what was thought."""
        choice = self._next_choice(journey, attempts)
        if choice is None:
            journey.must_answer = True
            return None
        self._telemetry.count_escalation()
        journey.escalate(choice)
        return Decided(journey.decision)

    def _next_choice(self, journey: Journey, attempts: _Attempts) -> Choice | None:
        """One tier up, if the policy allows it now and there is a worker for it."""
        query, choice = journey.query, journey.decision.choice
        limits = self._limits.of(query, journey.thinking_tokens)
        tiers = self._config.tiers_of(query.model)
        raised = policy.escalate(choice, query.wish, limits, tiers)
        if raised is None:
            return None
        found = self._pools.find(raised.pool, query.model, raised.budget_tokens, attempts.excluded)
        return raised if found else None

    def _replace(
        self, link: WorkerLink, journey: Journey, attempts: _Attempts, error: WorkerLost
    ) -> None:
        link.mark_lost()
        journey.lose_segment()
        self._telemetry.count_failover()
        attempts.excluded |= {link}
        attempts.num_lost += 1
        if attempts.num_lost > self._config.max_failovers:
            raise NoWorkerAvailable(
                f"{attempts.num_lost} workers were lost while they ran this; try again later"
            ) from error


def _look_elsewhere(
    link: WorkerLink, journey: Journey, attempts: _Attempts, refusal: WorkerRefused
) -> None:
    if refusal.status is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise DeadlineTooShort(_LATE) from refusal
    journey.give_back()
    if refusal.status is grpc.StatusCode.INVALID_ARGUMENT:
        raise InvalidRequest(str(refusal)) from refusal
    attempts.excluded |= {link}
    attempts.is_saturated = True


def _refuse(journey: Journey, attempts: _Attempts) -> NoReturn:
    if attempts.is_saturated:
        raise WorkersSaturated("every worker is full; try again in a few seconds")
    pool = pool_name(journey.decision.choice.pool)
    raise NoWorkerAvailable(
        f"no live worker of the {pool} pool, or to stand in for it; try again later"
    )
