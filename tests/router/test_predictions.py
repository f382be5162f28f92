"""Observed needs correct the classifier: soon, within bounds, and never from nonsense."""

import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis.asyncio import Redis

from ponder import keys
from ponder.bins import NUM_NEED_BINS
from ponder.counts import NeedCounts
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_SIMPLE
from router.bench.simulated_tenant import SimulatedTenant
from router.decisions import Classification
from router.predictions import Counts, Predictions, Segment
from router.survival import SurvivalCurve
from router.telemetry import REJECTED_COUNTS, Telemetry
from router.tiers import TierTable

SEGMENT = Segment(model="small", version="1", tenant="local")
OTHER = replace(SEGMENT, tenant="other")
PRIOR = Classification(hazards=np.full(NUM_NEED_BINS, 0.5), features=(), version="1")
ROW = 0  # half of the needs of PRIOR are within bin 0, so its median is


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    opened = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    yield opened
    await opened.close()


@pytest.fixture
def predictions(ledger: Ledger) -> Predictions:
    return Predictions(ledger, 50.0, Telemetry(MeterProvider()), lambda _: TierTable())


def write_counts(redis_url: str, fields: dict[str, str | int], version: str = "1") -> None:
    window = int(time.time() // 3_600) * 3_600
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.counts("small", version, "local", window), mapping=fields)


def write_corrections(redis_url: str, tenant: str, *values: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        fields = {str(tier): value for tier, value in enumerate(values, 1)}
        client.hset(keys.corrections("small", "1", tenant), mapping=fields)


def logit(probability: float) -> float:
    return math.log(probability / (1.0 - probability))


async def test_nothing_read_means_the_bare_classifier(predictions):
    prediction = predictions.predict(SEGMENT, PRIOR)

    assert prediction.curve.points[1] == 0.5
    assert "none read" in predictions.staleness(SEGMENT)


async def test_counts_of_the_predicted_bin_move_the_hazards(predictions, redis_url):
    write_counts(redis_url, {f"{ROW}:r:0": 50, f"{ROW}:n:0": 0})

    await predictions.refresh([SEGMENT])

    assert predictions.predict(SEGMENT, PRIOR).curve.points[1] == 0.75
    assert predictions.staleness(SEGMENT) == ""


async def test_counts_of_other_bins_and_tenants_do_not(predictions, redis_url):
    write_counts(redis_url, {f"{ROW + 1}:r:0": 50})

    await predictions.refresh([SEGMENT, OTHER])

    assert predictions.predict(SEGMENT, PRIOR).curve.points[1] == 0.5
    assert predictions.predict(OTHER, PRIOR).curve.points[1] == 0.5


async def test_counts_of_another_version_of_the_classifier_do_not(predictions, redis_url):
    write_counts(redis_url, {f"{ROW}:r:0": 50}, version="2")
    second = replace(SEGMENT, version="2")

    await predictions.refresh([SEGMENT, second])

    assert predictions.predict(SEGMENT, PRIOR).curve.points[1] == 0.5
    assert predictions.predict(second, replace(PRIOR, version="2")).curve.points[1] == 0.75


async def test_a_correction_shifts_the_probability_at_its_tiers_budget(predictions, redis_url):
    write_corrections(redis_url, "local", "1.0", "0", "-1.0", "0")

    await predictions.refresh([SEGMENT, OTHER])

    before, after = (predictions.predict(of, PRIOR).curve for of in (OTHER, SEGMENT))
    moved = [logit(after.at(b)) - logit(before.at(b)) for b in TierTable().budgets]
    assert moved == pytest.approx([1.0, 0.0, -1.0, 0.0])
    assert before.points == SurvivalCurve.from_hazards(PRIOR.hazards).points


@pytest.mark.parametrize("poison", ["nan", "inf", "1e300", "-7", "twelve"])
async def test_a_poisoned_correction_corrects_nothing_and_is_counted(ledger, redis_url, poison):
    metrics = InMemoryMetricReader()
    telemetry = Telemetry(MeterProvider([metrics]))
    predictions = Predictions(ledger, 50.0, telemetry, lambda _: TierTable())
    write_corrections(redis_url, "local", poison, poison, "1.0", poison)
    write_corrections(redis_url, "other", "0.5")

    await predictions.refresh([SEGMENT, OTHER])

    curve, other = (predictions.predict(of, PRIOR).curve for of in (SEGMENT, OTHER))
    bare = SurvivalCurve.from_hazards(PRIOR.hazards)
    assert curve.at(50) == pytest.approx(bare.at(50))
    assert logit(curve.at(2_000)) - logit(bare.at(2_000)) == pytest.approx(1.0)
    assert logit(other.at(50)) - logit(bare.at(50)) == pytest.approx(0.5)
    measured = metrics.get_metrics_data()
    assert measured is not None
    assert REJECTED_COUNTS in measured.to_json()


async def test_nonsense_in_redis_leaves_the_prior(predictions, redis_url):
    write_counts(redis_url, {f"{ROW}:r:0": "many", f"{ROW}:n:0": "-5", "x": 1, f"{ROW}:r:99": 4})

    await predictions.refresh([SEGMENT])

    assert predictions.predict(SEGMENT, PRIOR).curve.points[1] == 0.5


async def test_an_absurd_count_is_left_out(predictions, redis_url):
    write_counts(redis_url, {f"{ROW}:r:0": 10**30, f"{ROW}:r:1": 50})

    await predictions.refresh([SEGMENT])

    points = predictions.predict(SEGMENT, PRIOR).curve.points
    assert points[1:3] == pytest.approx((0.5, 0.5 * 0.75))


def test_impossible_cells_are_counted():
    zeros = ((0,) * NUM_NEED_BINS,) * NUM_NEED_BINS
    at_risk = ((1 << 50, *(0,) * (NUM_NEED_BINS - 1)), *zeros)
    events = ((0, 3, *(0,) * (NUM_NEED_BINS - 2)), *zeros)

    counts, num_rejected = Counts.checked(NeedCounts(events, at_risk))

    assert num_rejected == 2
    assert not counts.events.any()
    assert not counts.at_risk.any()


async def test_a_key_of_the_wrong_type_makes_only_its_tenant_stale(predictions, redis_url):
    window = int(time.time() // 3_600) * 3_600
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.counts("small", "1", "broken", window), "text")
    broken = replace(SEGMENT, tenant="broken")

    await predictions.refresh([broken, SEGMENT])

    assert predictions.staleness(broken)
    assert not predictions.staleness(SEGMENT)


class CountingLedger(Ledger):
    """Notes whose counts are read."""

    def __init__(self, client: Redis, config: LedgerConfig) -> None:
        super().__init__(client, config)
        self.read: list[str | None] = []

    async def read_counts(
        self, model: str, version: str, now_s: float, tenant: str | None = None
    ) -> NeedCounts:
        self.read.append(tenant)
        return await super().read_counts(model, version, now_s, tenant)

    def take_read(self) -> list[str | None]:
        found, self.read = self.read, []
        return found


@pytest.fixture
def watched(ledger: Ledger) -> CountingLedger:
    return CountingLedger(ledger.client, ledger.config)


async def test_of_many_tenants_only_those_are_read_again_that_have_changed(watched):
    predictions = Predictions(watched, 50.0, Telemetry(MeterProvider()), lambda _: TierTable())
    segments = [replace(SEGMENT, tenant=f"t{number}") for number in range(50)]
    active = [
        SimulatedTenant(segments[number], predictions, watched, time.time, number)
        for number in (7, 30)
    ]
    await predictions.refresh(segments)
    assert sorted(watched.take_read()) == sorted(segment.tenant for segment in segments)
    await predictions.refresh(segments)
    assert watched.take_read() == []

    before = predictions.predict(segments[7], PRIOR).curve.points
    for tenant in active * 20:
        await tenant.run(4.0)
    await predictions.refresh(segments)

    assert watched.take_read() == ["t7", "t30"]
    assert predictions.predict(segments[7], PRIOR).curve.points != before
    # The newest change may have been followed by another within its millisecond.
    await predictions.refresh(segments)
    assert set(watched.take_read()) <= {"t7", "t30"}


async def test_a_change_is_not_lost_to_who_asks_for_a_part_only(watched):
    """A version that is about to serve is read by itself."""
    predictions = Predictions(watched, 50.0, Telemetry(MeterProvider()), lambda _: TierTable())
    await predictions.refresh([SEGMENT, OTHER])
    await SimulatedTenant(OTHER, predictions, watched, time.time, 1).run()
    watched.take_read()

    await predictions.refresh([SEGMENT])
    assert watched.take_read() == []
    await predictions.refresh([SEGMENT, OTHER])
    assert watched.take_read() == ["other"]


async def test_what_has_not_changed_is_read_after_a_while_too(watched):
    now_s = [time.time()]
    predictions = Predictions(
        watched, 50.0, Telemetry(MeterProvider()), lambda _: TierTable(), lambda: now_s[0]
    )
    await predictions.refresh([SEGMENT, OTHER])
    watched.take_read()

    for passed_s, num_read in ((299.0, 0), (2.0, 2), (299.0, 0)):
        now_s[0] += passed_s
        await predictions.refresh([SEGMENT, OTHER])
        assert len(watched.take_read()) == num_read


async def test_a_few_hundred_requests_of_another_kind_change_the_tier(start, classifier_path):
    prompt = "Find x when 6x + 3 = 39."
    async with start(classifier=str(classifier_path)) as stack:
        before = await stack.plan_when(lambda found: not found.degraded, prompt=prompt)
        stack.thinking.script.need = lambda request: 1_500
        for _ in range(300):
            await stack.reason(prompt=prompt, tier=TIER_COMPLEX)
        after = await stack.plan_when(lambda found: found.tier != before.tier, prompt=prompt)

    assert (before.tier, after.tier) == (TIER_SIMPLE, TIER_COMPLEX)
    assert after.need.p50_tokens > before.need.p50_tokens


async def test_what_the_prediction_decided_is_settled_with_its_outcome(start, classifier_path):
    prompt = "Find x when 6x + 3 = 39."
    async with start(classifier=str(classifier_path)) as stack:
        planned = await stack.plan_when(lambda found: not found.degraded, prompt=prompt)
        stack.easy.script.need = lambda request: 200
        await stack.reason(prompt=prompt)
        await stack.reason(prompt=prompt, tier=TIER_COMPLEX)
        await stack.reason(prompt="Reach 24 from 3, 5, 6 and 8.", max_tier=TIER_SIMPLE)
        automatic, explicit, clamped = await stack.traces()
        outcomes = await stack.ledger.read_outcomes(
            "small", planned.classifier_version, time.time(), "local"
        )

    assert automatic.usage.escalations == 1
    assert automatic.predicted_miss == pytest.approx(planned.survival[0].survival)
    assert (explicit.predicted_miss, clamped.predicted_miss) == (None, None)
    assert (outcomes.total.decided, outcomes.total.missed) == (1, 1)
    assert outcomes.total.expected == pytest.approx(automatic.predicted_miss, abs=1e-6)
    assert outcomes.tiers[TIER_SIMPLE].missed == 1


async def test_explored_requests_carry_the_propensity_into_the_trace(start, classifier_path):
    async with start(classifier=str(classifier_path), exploration=0.5) as stack:
        rules: dict[int, pb.Decision] = {}
        rng = Random(0)
        while len(rules) < 2:
            reply = await stack.reason(prompt=f"Find x when {rng.randint(2, 9)}x + 3 = 39.")
            rules[reply.decision.rule] = reply.decision
        traces = await stack.traces()

    assert set(rules) == {pb.RULE_AUTOMATIC, pb.RULE_EXPLORATION}
    assert {decision.propensity for decision in rules.values()} == {0.5}
    assert {trace.propensity for trace in traces} == {0.5}
    assert all((t.predicted_miss is None) == (t.rule == pb.RULE_EXPLORATION) for t in traces)
    assert all(sorted(trace.tier_propensities) == [0.0, 0.0, 0.5, 0.5] for trace in traces)
    assert all(len(trace.prior_hazards) == NUM_NEED_BINS for trace in traces)
    assert all(trace.features for trace in traces)
