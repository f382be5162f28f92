"""Every metric of the router, declared once. Labels come from closed sets, prompts go nowhere.

Where they go is for ponder/exporters.py.
"""

from collections.abc import Mapping
from enum import Enum

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider

from ponder.outcomes import TierOutcomes
from ponder.tracing import Tracing
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, Pool, ThinkingStop, Tier
from router.decisions import Reply
from router.recent import RecentSums
from router.request_metrics import RequestMetrics
from router.tiers import TIERS, pool_name, tier_name

ERRORS = "ponder.router.errors"
DEGRADED = "ponder.router.degraded"
ESCALATIONS = "ponder.router.escalations"
FAILOVERS = "ponder.router.failovers"
LENT = "ponder.router.lent"
WORKERS = "ponder.router.workers"
QUEUE = "ponder.router.queue"
SHED = "ponder.router.shed"
SHRUNK = "ponder.router.shrunk"
QUARANTINED = "ponder.router.quarantined"
RETRIES_REFUSED = "ponder.router.retries_refused"
REJECTED_COUNTS = "ponder.router.rejected_counts"
CLASSIFIED = "ponder.router.classified"
BUDGET_HIT_RATE = "ponder.router.budget_hit_rate"
COVERAGE_RESIDUAL = "ponder.router.coverage_residual"
REFUSED_CLASSIFIERS = "ponder.router.classifier.refused"
ROLLBACKS = "ponder.router.classifier.rollbacks"
SHADOWED = "ponder.router.classifier.shadowed"
SHADOW_FAILURES = "ponder.router.classifier.shadow_failures"
SHADOW_DURATION = "ponder.router.classifier.shadow_duration"
SERVING = "ponder.router.classifier.serving"
# A prompt is classified in a tenth of a millisecond, a long one on a busy machine in some.
_CLASSIFYING_S = tuple(0.00005 * 2**power for power in range(14))


class Degraded(Enum):
    """A part that a decision had to do without."""

    CLASSIFIER = "classifier"
    COUNTS = "counts"
    POOL = "pool"
    QUOTAS = "quotas"


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
        self._lent = meter.create_counter(
            LENT, description="Segments that ran in the other pool, by the pool they belong to"
        )
        self._workers = meter.create_gauge(WORKERS, description="Workers, by pool and state")
        self._queue = meter.create_gauge(
            QUEUE, "s", description="Predicted wait of a request that comes now, by pool and model"
        )
        self._shed = meter.create_counter(SHED, description="Requests refused because of the load")
        self._shrunk = meter.create_counter(
            SHRUNK, description="Budgets lowered because of the load, by the tier that was left"
        )
        self._quarantined = meter.create_counter(
            QUARANTINED, description="Requests given up or refused because workers crashed on them"
        )
        self._retries_refused = meter.create_counter(
            RETRIES_REFUSED, description="Failovers and retries that there were too many of"
        )
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
        self._shadow_duration = meter.create_histogram(
            SHADOW_DURATION, "s", explicit_bucket_boundaries_advisory=_CLASSIFYING_S
        )
        self._serving = meter.create_gauge(
            SERVING, description="1 for each classifier in use, by model and role"
        )
        self._shown_serving: dict[str, set[tuple[str, str]]] = {}
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """A rise from 0 to 1 is seen, a series that begins at 1 has risen by nothing."""
        for counter in (
            *(self._escalations, self._failovers, self._shed, self._quarantined),
            *(self._retries_refused, self._rejected, self._refused, self._rollbacks),
            self._shadow_failures,
        ):
            counter.add(0)
        for part in Degraded:
            self._degraded.add(0, {"part": part.value})
        for pool in (POOL_EASY, POOL_THINKING):
            self._lent.add(0, {"pool": pool_name(pool)})
        for tier in TIERS:
            self._shrunk.add(0, {"tier": tier_name(tier)})

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

    def count_lent(self, pool: Pool.ValueType) -> None:
        self._lent.add(1, {"pool": pool_name(pool)})

    def show_workers(self, pool: Pool.ValueType, state: str, number: int) -> None:
        self._workers.set(number, {"pool": pool_name(pool), "state": state})

    def show_queue(self, pool: Pool.ValueType, model: str, wait_s: float) -> None:
        self._queue.set(wait_s, {"pool": pool_name(pool), "model": model})

    def count_shed(self) -> None:
        self._shed.add(1)

    def count_shrunk(self, tier: Tier.ValueType) -> None:
        self._shrunk.add(1, {"tier": tier_name(tier)})

    def count_quarantined(self) -> None:
        self._quarantined.add(1)

    def count_retry_refused(self) -> None:
        self._retries_refused.add(1)

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

    def show_serving(self, model: str, versions: Mapping[str, str]) -> None:
        """By role: champion, canary or shadow. A gauge stands until it is set again, so those that
        went are set to 0.
        """
        now = set(versions.items())
        for role, version in now | self._shown_serving.get(model, set()):
            labels = {"model": model, "role": role, "classifier": version}
            self._serving.set(int((role, version) in now), labels)
        self._shown_serving[model] = now

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
        self._answered.record(reply, tenant)
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
