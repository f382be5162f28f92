"""Every metric of the router, declared once. Labels come from closed sets, prompts go nowhere.

Metrics are exported only when OTEL_METRICS_EXPORTER names an exporter that is installed.
"""

from collections.abc import Mapping
from enum import Enum
from importlib.metadata import entry_points

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

from ponder.environment import ConfigError
from ponder.outcomes import TierOutcomes
from ponder.v1.budget_pb2 import Pool, ThinkingStop, Tier
from ponder.v1.reasoner_pb2 import Rule
from router.policy import Choice
from router.tiers import pool_name, tier_name

REQUESTS = "ponder.router.requests"
ERRORS = "ponder.router.errors"
DEGRADED = "ponder.router.degraded"
ESCALATIONS = "ponder.router.escalations"
FAILOVERS = "ponder.router.failovers"
LENT = "ponder.router.lent"
WORKERS = "ponder.router.workers"
QUEUE = "ponder.router.queue"
SHED = "ponder.router.shed"
SHRUNK = "ponder.router.shrunk"
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
THINKING_USED = "ponder.router.thinking.used"
THINKING_PREDICTED = "ponder.router.thinking.predicted"
DURATION = "ponder.router.duration"
_TOKEN_BOUNDARIES = (16, 50, 120, 250, 500, 1000, 2000, 4000, 10_000)
_EXPORTERS = "OTEL_METRICS_EXPORTER"


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
    """Counts what the router does."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("ponder.router")
        self._requests = meter.create_counter(REQUESTS, description="Requests answered")
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
        self._shadow_duration = meter.create_histogram(SHADOW_DURATION, "s")
        self._used = meter.create_histogram(
            THINKING_USED, "{token}", explicit_bucket_boundaries_advisory=_TOKEN_BOUNDARIES
        )
        self._predicted = meter.create_histogram(
            THINKING_PREDICTED, "{token}", explicit_bucket_boundaries_advisory=_TOKEN_BOUNDARIES
        )
        self._duration = meter.create_histogram(DURATION, "s")

    def count_degraded(self, part: Degraded) -> None:
        self._degraded.add(1, {"part": part.value})

    def count_error(self, status: str) -> None:
        """`status` is the name of a gRPC status."""
        self._errors.add(1, {"status": status})

    def count_escalation(self) -> None:
        self._escalations.add(1)

    def count_failover(self) -> None:
        self._failovers.add(1)

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

    def count_retry_refused(self) -> None:
        self._retries_refused.add(1)

    def count_rejected(self, num_cells: int) -> None:
        self._rejected.add(num_cells)

    def count_classified(self, source: Source) -> None:
        self._classified.add(1, {"by": source.value})

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

    def record_prediction(self, median_tokens: int) -> None:
        self._predicted.record(median_tokens)

    def record_request(
        self,
        choice: Choice,
        stop: ThinkingStop.ValueType,
        *,
        thinking_tokens: int,
        duration_s: float,
    ) -> None:
        """One answered request, as it ended."""
        labels = {"tier": tier_name(choice.tier), "pool": pool_name(choice.pool)}
        stopped = ThinkingStop.Name(stop).removeprefix("THINKING_STOP_").lower()
        rule = Rule.Name(choice.rule).removeprefix("RULE_").lower()
        self._requests.add(1, {**labels, "stop": stopped, "rule": rule})
        self._used.record(thinking_tokens, labels)
        self._duration.record(duration_s, labels)


def meter_provider(environ: Mapping[str, str]) -> MeterProvider:
    """The provider that OTEL_METRICS_EXPORTER asks for. Raises ConfigError.

    Each exporter reads its own OTEL_* variables.
    """
    exporters = [name.strip() for name in environ.get(_EXPORTERS, "none").split(",")]
    if exporters == ["none"]:
        return NoOpMeterProvider()
    return SdkMeterProvider([_reader(name) for name in exporters])


def _reader(name: str) -> MetricReader:
    found = entry_points(group="opentelemetry_metrics_exporter", name=name)
    if not found:
        raise ConfigError(f"{_EXPORTERS}={name!r}: no such exporter is installed")
    return PeriodicExportingMetricReader(next(iter(found)).load()())
