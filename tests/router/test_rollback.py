"""Routers take back a classifier that misses too often: once, with the reason, and it goes back."""

import time
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
import redis.asyncio
from numpy.typing import NDArray
from opentelemetry.sdk.metrics import MeterProvider

from ponder.classifiers import ClassifierStore
from ponder.ledger import Ledger
from router.classification import Classifiers, Classifying
from router.guard import GuardConfig, Tally
from router.rollback import Rollback
from router.serving import Serving
from router.telemetry import Telemetry
from tests.router.conftest import Stack, eventually
from tests.router.small_worker import MODEL
from tests.router.versions import Operator, count_outcomes, made_for, with_intercepts_moved

GOOD = {"d": 1_000, "m": 100, "e": 100_000_000}
BAD = {"d": 1_000, "m": 300, "e": 100_000_000}
HOPELESS = {"d": 1_000, "m": 300, "e": 300_000_000}
A, B = "a" * 16, "b" * 16


@pytest.fixture
async def raw(redis_url: str):
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    opened = Ledger.from_url(redis_url)
    yield opened
    await opened.close()


@pytest.fixture
def operator(ledger: Ledger) -> Operator:
    return Operator(ClassifierStore.beside(ledger))


class Named:
    """A classifier of which only the version matters."""

    def __init__(self, version: str) -> None:
        self.version = version

    def features(self, prompt: str) -> tuple[int, ...]:
        raise AssertionError("nobody classifies")

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]:
        raise AssertionError("nobody classifies")


def rollback_by(
    ledger: Ledger, name: str = "router 1", clock=time.time, champion: str = A
) -> Rollback:
    classifying = Classifying(Classifiers())
    classifying.serve(MODEL, Serving(champion=Named(champion)))

    async def read_tally(model: str, version: str, now_s: float) -> Tally:
        return (await ledger.read_outcomes(model, version, now_s)).total

    store, telemetry = ClassifierStore.beside(ledger), Telemetry(MeterProvider())
    return Rollback(store, read_tally, classifying, GuardConfig(), telemetry, name, clock)


async def with_canary(operator: Operator):
    await operator.promote(A)
    return await operator.change(lambda rollout: rollout.with_canary(B, 0.1))


@pytest.mark.parametrize(
    ("of_canary", "of_champion", "goes"),
    [
        (GOOD, GOOD, False),
        (BAD, GOOD, True),
        (BAD, BAD, True),  # the champion's misses excuse nothing that was not predicted
        (HOPELESS, GOOD, True),
        (HOPELESS, HOPELESS, False),
        ({"d": 10, "m": 3, "e": 1_000_000}, GOOD, False),
        ({}, GOOD, False),
    ],
)
async def test_a_canary_is_judged_by_its_predictions_and_by_the_champion(
    ledger, operator, raw, of_canary, of_champion, goes
):
    rollout = await with_canary(operator)
    for version, tally in ((B, of_canary), (A, of_champion)):
        await count_outcomes(raw, version, time.time(), tally)

    await rollback_by(ledger).review(MODEL, rollout)

    after = await operator.store.read_rollout(MODEL)
    assert (after.canary == "") is goes
    assert after.champion == A
    if goes:
        assert after.reason.startswith(f"canary {B}: 300 of 1000 first budgets did not suffice")
        assert after.changed_by == "router 1"


@pytest.mark.parametrize(("age_s", "goes"), [(3_600.0, True), (86_401.0, False)])
async def test_a_champion_is_watched_for_a_day(ledger, operator, raw, age_s, goes):
    now_s = time.time()
    await operator.promote(A, now_s - age_s)
    rollout = await operator.promote(B, now_s - age_s)
    await count_outcomes(raw, B, now_s, BAD)

    await rollback_by(ledger, clock=lambda: now_s).review(MODEL, rollout)

    after = await operator.store.read_rollout(MODEL)
    assert after.champion == (A if goes else B)


async def test_with_nothing_to_go_back_to_a_champion_stays(ledger, operator, raw):
    await operator.promote(A, time.time())
    rollout = await operator.change(lambda rollout: rollout.rolled_back(time.time()))
    await count_outcomes(raw, "files", time.time(), BAD)

    await rollback_by(ledger).review(MODEL, rollout)

    assert await operator.store.read_rollout(MODEL) == rollout


async def test_what_a_person_changed_meanwhile_stands(ledger, operator, raw):
    seen = await with_canary(operator)
    stopped = await operator.change(lambda rollout: rollout.without_canary())
    await count_outcomes(raw, B, time.time(), BAD)

    await rollback_by(ledger).review(MODEL, seen)

    assert await operator.store.read_rollout(MODEL) == stopped


async def test_without_redis_nothing_is_reviewed(tmp_path, operator):
    rollout = await with_canary(operator)
    nobody = Ledger.from_url(f"unix://{tmp_path}/nobody.sock")

    await rollback_by(nobody).review(MODEL, rollout)

    await nobody.close()


async def test_of_two_running_routers_one_rolls_back_and_both_go_back(
    start, tmp_path, classifier_path, raw
):
    first, second = (
        made_for(classifier_path.read_bytes(), MODEL, with_intercepts_moved(by)) for by in (0, -3)
    )
    async with start() as one, start(spool_dir=str(tmp_path / "other")) as two:
        operator = Operator(ClassifierStore.beside(one.ledger))
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        now_s = time.time()
        await operator.promote(old, now_s)
        await operator.promote(new, now_s)
        for stack in (one, two):
            await stack.plan_when(lambda found: found.classifier_version == new)
        await count_outcomes(raw, new, now_s, BAD)
        for stack in (one, two):
            await stack.plan_when(lambda found: found.classifier_version == old)
        history = await operator.store.history(MODEL)
        rolled_back = sum(s.counted("ponder.router.classifier.rollbacks") for s in (one, two))

    assert [change.action for change in history] == ["rollback", "change", "change"]
    assert rolled_back == 1
    assert new in history[0].reason


async def test_a_canary_that_misses_is_rolled_back_by_what_its_requests_needed(
    start, classifier_path, raw
):
    """Real requests all the way: the ledger counts them, the guard reads them, the canary goes."""
    first = made_for(classifier_path.read_bytes(), MODEL)
    hasty = made_for(classifier_path.read_bytes(), MODEL, with_intercepts_moved(6.0))
    async with start(coverage=0.9) as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.need = lambda request: 1_500
        operator = Operator(ClassifierStore.beside(stack.ledger))
        old, new = [await operator.add(serialized) for serialized in (first, hasty)]
        await operator.promote(old)
        await operator.change(lambda rollout: rollout.with_canary(new, 0.5))
        asked = await _ask_until_rolled_back(stack, operator)
        after = await operator.store.read_rollout(MODEL)

    assert after is not None
    assert (after.champion, after.canary) == (old, "")
    assert after.reason.startswith(f"canary {new}: ")
    assert asked < 600


async def _ask_until_rolled_back(stack: Stack, operator: Operator) -> int:
    asked = 0

    async def rolled_back() -> bool:
        nonlocal asked
        await stack.reason(prompt=f"Find x when {asked}x + 3 = 39.")
        asked += 1
        return (await operator.store.history(MODEL))[0].action == "rollback"

    await eventually(rolled_back)
    return asked
