"""Runs a decided request on the workers: segment after segment until it is answered.

A spent budget goes on one tier up where policy and deadline allow it; a lost worker is replaced.
Either way the next segment continues from the thinking that has arrived.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import NoReturn

import grpc

from ponder.v1.budget_pb2 import Pool
from router import admission, policy, spans
from router.admission import RetryBudget
from router.decisions import Decided, Event, Thought
from router.errors import (
    DeadlineTooShort,
    InvalidRequest,
    NoWorkerAvailable,
    Quarantined,
    WorkersSaturated,
)
from router.journey import Journey
from router.limits import CurrentLimits
from router.policy import Choice
from router.pools import Pools
from router.quarantine import Quarantine
from router.settlements import Settlements
from router.telemetry import Degraded, Telemetry
from router.tiers import TiersOf, pool_name
from router.worker_link import WorkerLink
from router.worker_loss import WorkerLost, WorkerRefused

# Where nothing measured tells when there will be room.
_RETRY_AFTER_S = 1.0
_LATE = "the deadline passed before the answer was complete; allow more time"


@dataclass(slots=True)
class _Attempts:
    """The workers that this request does not go back to, and the one that holds its thinking."""

    excluded: frozenset[WorkerLink] = frozenset()
    holder: WorkerLink | None = None
    num_lost: int = 0
    num_crashes: int = 0
    is_saturated: bool = False
    is_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherConfig:
    """`max_failovers`: how many lost workers one request survives."""

    tiers_of: TiersOf
    max_failovers: int
    answer_reserve_tokens: int


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
        self._retries = RetryBudget()
        self._quarantine = Quarantine()

    async def run(self, journey: Journey) -> AsyncGenerator[Event, None]:
        """Ends when the request is answered and settled. Raises RouterError."""
        attempts = _Attempts()
        with self._counting_quarantined():
            self._quarantine.check(journey.query)
        self._retries.note_request()
        try:
            while not journey.is_answered:
                if journey.is_exhausted and (raised := self._raise_or_answer(journey, attempts)):
                    yield raised
                async with aclosing(self._run_segment(journey, attempts)) as events:
                    async for event in events:
                        yield event
            self._quarantine.note_answer(journey.query)
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
        model, pool = journey.query.model, journey.decision.choice.pool
        request = journey.next_request(
            answer_on_exhaustion=journey.must_answer
            or self._next_choice(journey, attempts) is None,
            most_tokens=self._pools.cap(link, pool, model),
        )
        try:
            with (
                spans.segment(journey, request, link) as span,
                link.expecting(*self._to_come(journey)) as expect,
            ):
                thought = link.think(request, left_s, journey.accepted, span.metadata)
                async with aclosing(thought) as events:
                    async for event in events:
                        if (shown := journey.receive(event)) is None:
                            continue
                        if isinstance(shown, Thought):
                            expect(*self._to_come(journey))
                        yield shown
                journey.end_segment()
            attempts.holder = link
        except WorkerLost as error:
            self._replace(link, journey, attempts, error)
        except WorkerRefused as refusal:
            self._look_elsewhere(link, journey, attempts, refusal)

    def _to_come(self, journey: Journey) -> tuple[float, int]:
        """Tokens that are predicted, an answer as long as the reserve kept for it among them; and
        those that it has had.
        """
        thought = journey.thinking_tokens
        answer_tokens = min(journey.query.max_answer_tokens, self._config.answer_reserve_tokens)
        return journey.decision.expected_tokens(thought) + answer_tokens, thought

    def _pick(self, journey: Journey, attempts: _Attempts) -> WorkerLink:
        home = self._home(journey)
        found = self._find(journey, journey.decision.choice, attempts)
        if found is None:
            _refuse(home, attempts)
        self._check_retry(attempts)
        pool, link = found
        if pool != home and self._pools.has_worker(home, journey.query.model, attempts.excluded):
            self._telemetry.count_lent(home)
        elif pool != home:
            self._telemetry.count_degraded(Degraded.POOL)
            journey.miss(home)
        journey.move_to(pool)
        return link

    def _home(self, journey: Journey) -> Pool.ValueType:
        """The pool that it belongs to, wherever it runs now."""
        return self._config.tiers_of(journey.query.model).pool(journey.decision.choice.tier)

    def _find(
        self, journey: Journey, choice: Choice, attempts: _Attempts
    ) -> tuple[Pool.ValueType, WorkerLink] | None:
        model = journey.query.model
        return self._pools.find(
            self._config.tiers_of(model).pool(choice.tier),
            model,
            choice.budget_tokens,
            attempts.excluded,
            holder=attempts.holder,
            prefix_tokens=journey.thinking_tokens,
        )

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
        return raised if raised and self._find(journey, raised, attempts) else None

    def _replace(
        self, link: WorkerLink, journey: Journey, attempts: _Attempts, error: WorkerLost
    ) -> None:
        link.mark_lost()
        journey.lose_segment()
        self._telemetry.count_failover()
        attempts.excluded |= {link}
        attempts.num_lost += 1
        attempts.is_retry = True
        if error.is_crash:
            attempts.num_crashes += 1
            with self._counting_quarantined():
                self._quarantine.note_crashes(journey.query, attempts.num_crashes)
        if attempts.num_lost > self._config.max_failovers:
            raise NoWorkerAvailable(
                f"{attempts.num_lost} workers were lost while they ran this; try again later"
            ) from error

    def _look_elsewhere(
        self, link: WorkerLink, journey: Journey, attempts: _Attempts, refusal: WorkerRefused
    ) -> None:
        if refusal.status is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise DeadlineTooShort(_LATE) from refusal
        journey.give_back()
        if refusal.status is grpc.StatusCode.INVALID_ARGUMENT:
            raise InvalidRequest(str(refusal)) from refusal
        attempts.excluded |= {link}
        attempts.is_saturated = attempts.is_retry = True

    @contextmanager
    def _counting_quarantined(self) -> Iterator[None]:
        try:
            yield
        except Quarantined:
            self._telemetry.count_quarantined()
            raise

    def _check_retry(self, attempts: _Attempts) -> None:
        if not attempts.is_retry:
            return
        attempts.is_retry = False
        if not self._retries.take():
            self._telemetry.count_retry_refused()
            if attempts.is_saturated:
                raise _saturated()
            raise NoWorkerAvailable(
                f"too many workers were lost at once; {admission.in_words(_RETRY_AFTER_S)}",
                _RETRY_AFTER_S,
            )


def _refuse(pool: Pool.ValueType, attempts: _Attempts) -> NoReturn:
    if attempts.is_saturated:
        raise _saturated()
    raise NoWorkerAvailable(
        f"no live worker of the {pool_name(pool)} pool, or to stand in for it; try again later"
    )


def _saturated() -> WorkersSaturated:
    return WorkersSaturated(
        f"every worker is full; {admission.in_words(_RETRY_AFTER_S)}", _RETRY_AFTER_S
    )
