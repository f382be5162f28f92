"""Observed needs correct the classifier: soon, within bounds, and never from nonsense."""

import time
from collections.abc import AsyncIterator
from random import Random

import numpy as np
import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider

from ponder import keys
from ponder.bins import NUM_NEED_BINS
from ponder.counts import NeedCounts
from ponder.ledger import Ledger
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_SIMPLE
from router.decisions import Classification
from router.predictions import Counts, Predictions
from router.telemetry import Telemetry

SEGMENT = ("small", "local")
PRIOR = Classification(hazards=np.full(NUM_NEED_BINS, 0.5), features=(), version="1")
ROW = 0  # half of the needs of PRIOR are within bin 0, so its median is


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    opened = Ledger.from_url(redis_url)
    yield opened
    await opened.close()


@pytest.fixture
def predictions(ledger: Ledger) -> Predictions:
    return Predictions(ledger, 50.0, Telemetry(MeterProvider()))


def write_counts(redis_url: str, fields: dict[str, str | int]) -> None:
    window = int(time.time() // 3_600) * 3_600
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.counts("small", "local", window), mapping=fields)


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

    await predictions.refresh([SEGMENT, ("small", "other")])

    assert predictions.predict(SEGMENT, PRIOR).curve.points[1] == 0.5
    assert predictions.predict(("small", "other"), PRIOR).curve.points[1] == 0.5


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
        client.set(keys.counts("small", "broken", window), "text")

    await predictions.refresh([("small", "broken"), SEGMENT])

    assert predictions.staleness(("small", "broken"))
    assert not predictions.staleness(SEGMENT)


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
    assert all(sorted(trace.tier_propensities) == [0.0, 0.0, 0.5, 0.5] for trace in traces)
    assert all(len(trace.prior_hazards) == NUM_NEED_BINS for trace in traces)
    assert all(trace.features for trace in traces)
