"""A shadow is compared and counted; it decides nothing and delays nothing."""

import asyncio
import time
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from opentelemetry.sdk.metrics import MeterProvider

from classifier.errors import ClassifierError
from ponder.bins import NUM_NEED_BINS
from ponder.classifiers import ClassifierStore
from ponder.ledger import Ledger
from ponder.plans import TenantPlan
from ponder.shadow import ShadowTally
from ponder.v1.budget_pb2 import TIER_RESEARCH, TIER_SIMPLE, Sampling
from router import policy
from router.classification import Classifiers, Classifying
from router.config import RouterConfig
from router.decisions import Classification, Decision, Prediction
from router.limits import CurrentLimits
from router.policy import Limits, PolicyConfig, Wish
from router.pools import Pools, PoolsConfig
from router.predictions import Predictions
from router.queries import Query
from router.serving import Serving
from router.shadowing import Shadowing
from router.survival import SurvivalCurve
from router.telemetry import Telemetry
from router.tenants import Tenant
from router.tiers import TierTable
from tests.router.conftest import Stack, eventually
from tests.router.small_worker import MODEL
from tests.router.versions import Operator, made_for, with_intercepts_moved

NUM_REQUESTS = 30
NOW_S = 1_800_000_000.0
POLICY = PolicyConfig(tiers=TierTable(), default_tier=TIER_SIMPLE, exploration=0.0)
QUERY = Query(
    request_id="r",
    tenant=Tenant(name="local", plan=TenantPlan(max_tier=TIER_RESEARCH)),
    prompt="What is 2 + 2?",
    messages=(),
    text="What is 2 + 2?",
    model=MODEL,
    wish=Wish(coverage=0.9),
    max_answer_tokens=8,
    sampling=Sampling(),
    include_thinking=False,
    received_at_s=0.0,
    deadline_at_s=1e9,
    fingerprint=b"",
)


@pytest.fixture
def two(classifier_path) -> list[bytes]:
    """The second one predicts far longer thinking."""
    return [
        made_for(classifier_path.read_bytes(), MODEL, with_intercepts_moved(by)) for by in (0, -12)
    ]


async def shadowed(stack: Stack, serialized: Sequence[bytes]) -> tuple[Operator, str, str]:
    operator = Operator(ClassifierStore.beside(stack.ledger))
    old, new = [await operator.add(each) for each in serialized]
    # In one change: whoever sees the champion decide sees the shadow compared.
    await operator.change(lambda rollout: rollout.promoted(old, 0.0).with_shadow(new))
    await stack.plan_when(lambda found: found.classifier_version == old)
    return operator, old, new


async def tally_when(operator: Operator, version: str, compared: int) -> ShadowTally:
    async def counted() -> ShadowTally | None:
        tally = await operator.store.read_shadow(MODEL, version, time.time())
        return tally if tally.compared + tally.failed >= compared else None

    return await eventually(counted)


async def test_the_shadow_is_counted_beside_the_tier_that_was_decided(start, two):
    async with start() as stack:
        operator, old, new = await shadowed(stack, two)
        replies = [await stack.reason(prompt=f"Add 2 and {i}.") for i in range(NUM_REQUESTS)]
        tally = await tally_when(operator, new, NUM_REQUESTS)
        counted = stack.counted("ponder.router.classifier.shadowed", shadow_tier="research")

    assert {reply.decision.classifier_version for reply in replies} == {old}
    assert tally.compared == counted == NUM_REQUESTS
    decided = {reply.decision.tier for reply in replies if not reply.usage.escalations}
    assert {pair for pair in tally.tiers} == {(tier, TIER_RESEARCH) for tier in decided}
    assert tally.agreed == 0
    assert tally.microseconds > 0


async def test_a_shadow_with_the_same_mind_agrees(start, classifier_path, two):
    twin = made_for(classifier_path.read_bytes(), MODEL, with_intercepts_moved(1e-6))
    async with start() as stack:
        operator, _, new = await shadowed(stack, [two[0], twin])
        for i in range(NUM_REQUESTS):
            await stack.reason(prompt=f"Add 2 and {i}.")
        tally = await tally_when(operator, new, NUM_REQUESTS)

    assert tally.agreed == NUM_REQUESTS


async def test_explored_requests_count_with_the_tier_that_was_predicted(start, two):
    async with start(exploration=0.5) as stack:
        operator, _, new = await shadowed(stack, two)
        for i in range(NUM_REQUESTS):
            await stack.reason(prompt=f"Find x when {i}x + 3 = 39.")
        tally = await tally_when(operator, new, NUM_REQUESTS)

    assert len(tally.tiers) == 1


async def test_what_callers_choose_and_plans_are_not_compared(start, two):
    async with start() as stack:
        operator, _, new = await shadowed(stack, two)
        await stack.reason(tier=TIER_SIMPLE)
        await stack.reason(thinking_budget=17)
        await stack.plan()
        await stack.reason()
        tally = await tally_when(operator, new, 1)

    assert tally.compared == 1


class FailingClassifier:
    version = "f" * 16

    def features(self, prompt: str) -> tuple[int, ...]:
        return ()

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]:
        raise ClassifierError("the graph failed")


async def test_a_failure_is_counted_and_waits_for_a_redis_that_is_gone(redis_url, tmp_path):
    nobody, ledger = Ledger.from_url(f"unix://{tmp_path}/nobody.sock"), Ledger.from_url(redis_url)
    classifying = Classifying(Classifiers())
    classifying.serve(MODEL, Serving(shadow=FailingClassifier()))
    shadowing = shadowing_of(classifying, ledger)
    for _ in range(3):
        shadowing.follow(QUERY, decided())
    await asyncio.sleep(0)  # what it follows runs in the next round of the event loop
    await shadowing.write(ClassifierStore.beside(nobody), lambda: NOW_S)
    for _ in range(2):
        await shadowing.write(ClassifierStore.beside(ledger), lambda: NOW_S)

    tally = await ClassifierStore.beside(ledger).read_shadow(MODEL, "f" * 16, NOW_S)

    assert tally == ShadowTally(failed=3)
    for opened in (nobody, ledger):
        await opened.close()


def shadowing_of(classifying: Classifying, ledger: Ledger) -> Shadowing:
    telemetry, tiers = Telemetry(MeterProvider()), TierTable()
    predictions = Predictions(ledger, 50.0, telemetry, lambda model: tiers)
    config = RouterConfig(
        easy_workers=(), thinking_workers=("127.0.0.1:1",), redis_url="", spool_dir=""
    )
    limits = CurrentLimits(
        config, Pools(PoolsConfig(targets={}, easy_cap_of=lambda _: tiers.easy_cap), Random())
    )
    return Shadowing(classifying, predictions, limits, lambda model: POLICY, telemetry)


def decided() -> Decision:
    prior = Classification(hazards=np.full(NUM_NEED_BINS, 0.5), features=(), version="a" * 16)
    curve = SurvivalCurve.from_hazards(prior.hazards)
    return Decision(
        choice=policy.choose(QUERY.wish, curve, Limits(affordable_tokens={}), POLICY, 0.0),
        model=MODEL,
        prediction=Prediction(curve=curve, predicted_bin=0, prior=prior),
    )
