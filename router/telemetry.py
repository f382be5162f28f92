"""Every metric of the router, declared once. Labels come from closed sets, prompts go nowhere.

Where they go is for ponder/exporters.py.
"""

from enum import Enum

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider

from ponder.outcomes import TierOutcomes
from ponder.tracing import Tracing
from ponder.v1.budget_pb2 import ThinkingStop, Tier
from router.decisions import Reply
from router.recent import RecentSums
from router.request_metrics import RequestMetrics
from router.tiers import TIERS, tier_name

ERRORS = "ponder.router.errors"
DEGRADED = "ponder.router.degraded"
ESCALATIONS = "ponder.router.escalations"
FAILOVERS = "ponder.router.failovers"
REJECTED_COUNTS = "ponder.router.rejected_counts"
CLASSIFIED = "ponder.router.classified"
BUDGET_HIT_RATE = "ponder.router.budget_hit_rate"
COVERAGE_RESIDUAL = "ponder.router.coverage_residual"
REFUSED_CLASSIFIERS = "ponder.router.classifier.refused"
ROLLBACKS = "ponder.router.classifier.rollbacks"
SHADOWED = "ponder.router.classifier.shadowed"
SHADOW_FAILURES = "ponder.router.classifier.shadow_failures"
SHADOW_DURATION = "ponder.router.classifier.shadow_duration"


class Degraded(Enum):
    """A part that a decision had to do without."""

    CLASSIFIER = "classifier"
    COUNTS = "counts"
    POOL = "pool"


class Source(Enum):
    """Which classifier predicted a request."""

    OWN = "own"
    GENERAL = "general"
    CHOSEN = "chosen"
    NONE = "none"


class Telemetry:
    """Counts what the router does. `recent` is for whoever looks now, `tracing` begins spans."""

    def __init__(self, provider: MeterProvider, tracing: Tracing | None = None) -> None:
        self.tracing = tracing or Tracing(NoOpTracerProvider())
        self.recent = RecentSums()
        meter = provider.get_meter("ponder.router")
        self._answered = RequestMetrics(meter)
        self._errors = meter.create_counter(ERRORS, description="Requests refused or failed")
        self._degraded = meter.create_counter(DEGRADED, description="Decisions without some part")
        self._escalations = meter.create_counter(ESCALATIONS, description="Moves one tier up")
        self._failovers = meter.create_counter(FAILOVERS, description="Workers lost mid-request")
        self._rejected = meter.create_counter(
            REJECTED_COUNTS, description="Observed numbers that could not be right"
        )
        self._classified = meter.create_counter(
            CLASSIFIED, description="Decisions, by the classifier that predicted them"
        )
        self._hit_rate = meter.create_gauge(
            BUDGET_HIT_RATE, description="Share of first budgets that did not suffice"
        )
        self._residual = meter.create_gauge(
            COVERAGE_RESIDUAL, description="The same less what was predicted; above 0: too often"
        )
        self._refused = meter.create_counter(
            REFUSED_CLASSIFIERS, description="Versions and rollouts that could not be trusted"
        )
        self._rollbacks = meter.create_counter(
            ROLLBACKS, description="Classifiers that this router took back"
        )
        self._shadowed = meter.create_counter(
            SHADOWED, description="Requests that a shadow classified too"
        )
        self._shadow_failures = meter.create_counter(
            SHADOW_FAILURES, description="Requests that a shadow could not classify"
        )
        self._shadow_duration = meter.create_histogram(SHADOW_DURATION, "s")

    def count_degraded(self, part: Degraded) -> None:
        self._degraded.add(1, {"part": part.value})
        self.recent.add("degraded", part.value)

    def count_error(self, status: str) -> None:
        """`status` is the name of a gRPC status."""
        self._errors.add(1, {"status": status})
        self.recent.add("errors", status)

    def count_escalation(self) -> None:
        self._escalations.add(1)

    def count_failover(self) -> None:
        self._failovers.add(1)
        self.recent.add("failovers")

    def count_rejected(self, num_cells: int) -> None:
        self._rejected.add(num_cells)

    def count_classified(self, source: Source, model: str) -> None:
        self._classified.add(1, {"by": source.value})
        self.recent.add("classified", model, source.value)

    def show_outcomes(
        self, model: str, version: str, tier: Tier.ValueType, outcomes: TierOutcomes
    ) -> None:
        """Of the windows that have not faded. A tier that was never decided on shows nothing."""
        if not outcomes.decided:
            return
        labels = {"model": model, "classifier": version, "tier": tier_name(tier)}
        self._hit_rate.set(outcomes.miss_rate, labels)
        self._residual.set(outcomes.residual, labels)

    def count_refused_classifier(self) -> None:
        self._refused.add(1)

    def count_rollback(self) -> None:
        self._rollbacks.add(1)

    def count_shadow_failure(self) -> None:
        self._shadow_failures.add(1)

    def record_shadow(
        self, tier: Tier.ValueType, shadow_tier: Tier.ValueType, duration_s: float
    ) -> None:
        """The tier that was right by the deciding classifier, and the one by the shadow."""
        labels = {"tier": tier_name(tier), "shadow_tier": tier_name(shadow_tier)}
        self._shadowed.add(1, labels)
        self._shadow_duration.record(duration_s)

    def record_reply(self, reply: Reply, tenant: str) -> None:
        """One answered request, as it ended."""
        self._answered.record(reply)
        usage, recent = reply.usage, self.recent
        of = (reply.decision.model, tier_name(decided_tier(reply)))
        recent.add("requests", *of)
        recent.add("used_tokens", *of, amount=usage.thinking_tokens)
        if prediction := reply.decision.prediction:
            recent.add("predicted", *of)
            recent.add("predicted_tokens", *of, amount=prediction.curve.quantile_tokens(0.5))
        if usage.escalations or reply.stop == ThinkingStop.THINKING_STOP_EXHAUSTED:
            recent.add("budget_hits", *of)
        if usage.escalations:
            recent.add("escalated", *of)
        recent.add("tenant_requests", tenant)
        recent.add("tenant_tokens", tenant, amount=usage.thinking_tokens + usage.answer_tokens)


def decided_tier(reply: Reply) -> Tier.ValueType:
    """The tier decided on first: each escalation went one up."""
    reached = TIERS.index(reply.decision.choice.tier)
    return TIERS[max(0, reached - reply.usage.escalations)]
