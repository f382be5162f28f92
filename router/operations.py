"""The Operations service: what this router sees now and did of late, for `ponder top`."""

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from ponder.outcomes import TierOutcomes
from ponder.spool import Spool
from ponder.v1 import operations_pb2 as pb
from ponder.v1 import operations_pb2_grpc
from ponder.v1.budget_pb2 import Tier
from router.classification import Classifying
from router.in_flight import InFlight
from router.outcome_gauges import OutcomeGauges
from router.pools import Pools
from router.predictions import Predictions, Segment
from router.recent import Key, RecentSums
from router.tiers import TIERS, TiersOf, pool_name, tier_name

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Operations"].full_name
Context = grpc.aio.ServicerContext[Any, Any]
_SCHEME: Final = "Bearer "
# As `ponder traces drift` judges the coverage residual.
_LEAST_DECIDED: Final = 200
_WARN_RESIDUAL: Final = 0.02
_ALARM_RESIDUAL: Final = 0.05
_DEVIATIONS: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The parts that are looked at. `models` and `segments` tell what is served now."""

    recent: RecentSums
    pools: Pools
    classifying: Classifying
    predictions: Predictions
    outcomes: OutcomeGauges
    in_flight: InFlight
    spool: Spool
    models: Callable[[], Sequence[str]]
    segments: Callable[[], Iterable[Segment]]
    tiers_of: TiersOf


class OperationsService(operations_pb2_grpc.OperationsServicer):
    """Answers whoever has the operator's key; where there are no tenants, everybody."""

    def __init__(self, observed: Observed, key_sha256: str, *, has_tenants: bool) -> None:
        """`key_sha256`: lower-case hex; empty: no key opens it."""
        self._observed = observed
        self._key_sha256 = key_sha256
        self._is_open = not key_sha256 and not has_tenants
        self._started_s = time.monotonic()

    async def Status(self, request: pb.StatusRequest, context: Context) -> pb.StatusReply:
        if not self._is_open and not self._has_key(context):
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                "authorization: the operator's key opens this; the router takes the one whose "
                "SHA-256 is ROUTER_OPERATOR_KEY_SHA256",
            )
        return status(self._observed, time.monotonic() - self._started_s)

    def _has_key(self, context: Context) -> bool:
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        key = str(given).removeprefix(_SCHEME).strip()
        found = hashlib.sha256(key.encode()).hexdigest()
        return hmac.compare_digest(found, self._key_sha256)


def status(observed: Observed, uptime_s: float) -> pb.StatusReply:
    """Everything as it stands now."""
    sums = observed.recent.sums()
    return pb.StatusReply(
        uptime_s=uptime_s,
        recent_s=observed.recent.covered_s,
        in_flight=len(observed.in_flight),
        workers=_workers(observed.pools),
        models=[_model(observed, model, sums) for model in observed.models()],
        tenants=_tenants(sums),
        degraded=_degraded(observed),
        degraded_decisions=_by_last(sums, "degraded"),
        errors=_by_last(sums, "errors"),
        failovers=sums["failovers",],
    )


def drift(outcomes: TierOutcomes) -> pb.Drift.ValueType:
    """Whether more first budgets were too small than was predicted, chance aside.

    The variance of the misses, sum of p (1 - p), is at most that of equal probabilities, so chance
    is never underrated.
    """
    if outcomes.decided < _LEAST_DECIDED:
        return pb.DRIFT_UNSPECIFIED
    share = outcomes.expected / outcomes.decided
    chance = _DEVIATIONS * (share * (1.0 - share) / outcomes.decided) ** 0.5
    if outcomes.residual <= max(chance, _WARN_RESIDUAL):
        return pb.DRIFT_NONE
    return pb.DRIFT_ALARM if outcomes.residual > _ALARM_RESIDUAL else pb.DRIFT_WARN


def _workers(pools: Pools) -> Iterator[pb.WorkerStatus]:
    for pool, link in pools.members():
        yield pb.WorkerStatus(
            address=link.address,
            pool=pool,
            is_alive=link.is_alive,
            load=link.load,
            outstanding_tokens=link.outstanding_tokens,
        )


def _model(observed: Observed, model: str, sums: Counter[Key]) -> pb.ModelStatus:
    serving = observed.classifying.serving(model)
    champion, canary, shadow = serving.champion, serving.canary, serving.shadow
    versions = serving.versions
    outcomes = {tier: observed.outcomes.of(model, versions, tier) for tier in TIERS}
    total = TierOutcomes.sum(outcomes.values())
    return pb.ModelStatus(
        model=model,
        tiers=[_tier(observed, model, tier, outcomes[tier], sums) for tier in TIERS],
        classifier_version=champion.version if champion else "",
        classifier_source=observed.classifying.source_of(champion).value,
        canary_version=canary.version if canary else "",
        canary_share=serving.canary_share,
        shadow_version=shadow.version if shadow else "",
        classified=_by_last(sums, "classified", model),
        drift=drift(total),
    )


def _tier(
    observed: Observed,
    model: str,
    tier: Tier.ValueType,
    outcomes: TierOutcomes,
    sums: Counter[Key],
) -> pb.TierStatus:
    of = (model, tier_name(tier))
    return pb.TierStatus(
        tier=tier,
        budget_tokens=observed.tiers_of(model).budget(tier),
        requests=sums["requests", *of],
        budget_hits=sums["budget_hits", *of],
        escalated=sums["escalated", *of],
        used_tokens=sums["used_tokens", *of],
        predicted_requests=sums["predicted", *of],
        predicted_tokens=sums["predicted_tokens", *of],
        decided=outcomes.decided,
        missed=outcomes.missed,
        expected=outcomes.expected,
    )


def _tenants(sums: Counter[Key]) -> Iterator[pb.TenantStatus]:
    tokens, requests = _by_last(sums, "tenant_tokens"), _by_last(sums, "tenant_requests")
    for tenant in sorted(requests, key=lambda name: -tokens[name]):
        yield pb.TenantStatus(tenant=tenant, requests=requests[tenant], tokens=tokens[tenant])


def _by_last(sums: Counter[Key], *prefix: str) -> dict[str, int]:
    """The sums whose key is the prefix and one word more, by that word."""
    return {key[-1]: total for key, total in sums.items() if key[:-1] == prefix and key != prefix}


def _degraded(observed: Observed) -> Iterator[str]:
    members = list(observed.pools.members())
    for pool in dict.fromkeys(pool for pool, _ in members):
        if not any(link.is_alive for of, link in members if of == pool):
            yield f"no live worker in the {pool_name(pool)} pool"
    for model in observed.models():
        if not observed.classifying.versions(model):
            yield f"{model}: no classifier, requests get the default tier"
    stale = {segment: observed.predictions.staleness(segment) for segment in observed.segments()}
    # One is told: when Redis is away all of them are stale, one after the other.
    yield from [f"{segment.model}: {text}" for segment, text in stale.items() if text][:1]
    if not observed.spool.is_empty:
        yield "settlements wait in the spool until Redis takes them"
