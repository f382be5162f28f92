"""The path of a request: classify, predict, choose, dispatch, finish. Called by service.py."""

import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from ponder.v1.budget_pb2 import ThinkingStop
from ponder.v1.reasoner_pb2 import Clamp
from router import policy, spans
from router.allowance import Allowances
from router.classification import Classifying
from router.decisions import Decided, Decision, Event, Finished, Prediction, Reply
from router.dispatcher import Dispatcher
from router.errors import DeadlineTooShort, WorkersSaturated
from router.in_flight import InFlight
from router.journey import Journey
from router.limits import CurrentLimits
from router.policy import Choice, PolicyConfig
from router.predictions import Predictions, segment_of
from router.queries import Query
from router.replies import RecentReplies
from router.shadowing import Shadowing
from router.telemetry import Degraded, Source, Telemetry
from router.tiers import tier_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineParts:
    """What the pipeline works with."""

    allowances: Allowances
    classifying: Classifying
    predictions: Predictions
    limits: CurrentLimits
    dispatcher: Dispatcher
    in_flight: InFlight
    replies: RecentReplies
    shadowing: Shadowing
    telemetry: Telemetry


class Pipeline:
    """Decides requests, and answers them."""

    def __init__(
        self,
        parts: PipelineParts,
        policy_of: Callable[[str], PolicyConfig],
        rng: random.Random,
        *,
        store_prompts: bool,
    ) -> None:
        """`policy_of` gives a model's policy: each has its own tiers."""
        self._parts = parts
        self._policy_of = policy_of
        self._rng = rng
        self._store_prompts = store_prompts

    async def reason(self, query: Query) -> AsyncGenerator[Event, None]:
        """The decision first, the finished reply last. Raises RouterError.

        The same request again, by its id, joins the one under way or gets its reply. When all have
        left early it is cancelled; its worker settles what was spent.
        """
        if reply := self._parts.replies.find(query):
            yield Decided(reply.decision)
            yield Finished(reply)
            return
        async with aclosing(
            self._parts.in_flight.follow(query, lambda: self._run(query))
        ) as events:
            async for event in events:
                yield event

    async def _run(self, query: Query) -> AsyncGenerator[Event, None]:
        decided = self._admit(query)
        async with self._parts.allowances.admit(query, decided, self._admit) as admitted:
            query, decision = admitted
            self._parts.shadowing.follow(query, decision)
            yield Decided(decision)
            journey = Journey(query, decision, store_prompts=self._store_prompts)
            async with aclosing(self._parts.dispatcher.run(journey)) as events:
                async for event in events:
                    yield event
            yield Finished(self._finish(journey))

    def decide(self, query: Query) -> Decision:
        """What reason() would do now. Touches no worker. Raises RouterError."""
        query.trace.note(spans.of_query, query)
        prediction = self._predict(query)
        with query.trace.child(spans.DECIDE) as span:
            missing = tuple(self._missing(query, prediction))
            decision = Decision(
                choice=self._choose(query, prediction),
                model=query.model,
                prediction=prediction,
                degraded=missing,
            )
            span.note(spans.of_decision, decision)
        self._parts.limits.check_load(query, decision)
        return decision

    def _admit(self, query: Query) -> Decision:
        try:
            decision = self.decide(query)
        except WorkersSaturated:
            self._parts.telemetry.count_shed()
            raise
        if Clamp.CLAMP_LOAD in decision.choice.clamps:
            self._parts.telemetry.count_shrunk(decision.choice.tier)
        return decision

    def _choose(self, query: Query, prediction: Prediction | None) -> Choice:
        limits = self._parts.limits
        try:
            return policy.choose(
                query.wish,
                prediction.curve if prediction else None,
                limits.of(query),
                self._policy_of(query.model),
                self._rng.random(),
            )
        except DeadlineTooShort as late:
            raise limits.why_late(query, late) from None

    def _predict(self, query: Query) -> Prediction | None:
        classifying = self._parts.classifying
        with query.trace.child(spans.CLASSIFY) as span:
            prior = classifying.classify(query.text, query.model, query.request_id)
            source = classifying.source(query.model, query.request_id) if prior else Source.NONE
            span.note(spans.of_classification, prior, source.value)
        self._parts.telemetry.count_classified(source, query.model)
        return self._parts.predictions.predict(segment_of(query, prior), prior) if prior else None

    def _missing(self, query: Query, prediction: Prediction | None) -> Iterator[str]:
        if prediction is None:
            self._parts.telemetry.count_degraded(Degraded.CLASSIFIER)
            yield "classifier: missing or failing"
            return
        segment = segment_of(query, prediction.prior)
        if staleness := self._parts.predictions.staleness(segment):
            self._parts.telemetry.count_degraded(Degraded.COUNTS)
            yield staleness

    def _finish(self, journey: Journey) -> Reply:
        reply = journey.reply()
        journey.query.trace.note(spans.of_reply, reply)
        self._parts.replies.keep(journey.query, reply)
        choice = reply.decision.choice
        self._parts.telemetry.record_reply(reply, journey.query.tenant.name)
        _log.info(
            "request %s tenant=%s tier=%s thinking=%d/%d stop=%s escalations=%d ms=%.0f",
            reply.request_id,
            journey.query.tenant.name,
            tier_name(choice.tier),
            reply.usage.thinking_tokens,
            choice.budget_tokens,
            ThinkingStop.Name(reply.stop).removeprefix("THINKING_STOP_").lower(),
            reply.usage.escalations,
            reply.timings.total_ms,
        )
        return reply
