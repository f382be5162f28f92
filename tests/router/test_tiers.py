"""Tiers per model: how they are written, and that every part goes by the request's model."""

import grpc
import pytest

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, TIER_COMPLEX
from router.tiers import TierTable, TierTables
from tests.router.small_worker import MODEL

OWN = "small=100,200,400,800;50,500,2000,10000"


@pytest.mark.parametrize("written", ["50,500,2000,10000", OWN, "a=1,2,3,4;b=2,3,4,5;9,10,11,12"])
def test_what_is_written_is_what_is_read(written):
    assert str(TierTables.parse(written)) == written


def test_a_model_without_an_entry_has_the_default_tiers():
    tables = TierTables.parse("org/r1=v2=100,200,400,800")

    assert tables.of("org/r1=v2").budgets == (100, 200, 400, 800)
    assert tables.of("other") == TierTable()


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("r1=50,500,2000", "r1: must be 4 budgets"),
        ("r1=500,50,2000,10000", "r1: must be 4 budgets above 0, each above"),
        ("r1=a,b,c,d", "r1: must be a whole number"),
        ("=1,2,3,4", "no model before"),
        ("r1=1,2,3,4;r1=1,2,3,5", "r1: is there twice"),
        ("1,2,3,4;1,2,3,5", "entry without a model: is there twice"),
        ("1,2,3,4;", "entry without a model: is there twice"),
        ("", "must be a whole number"),
    ],
)
def test_a_bad_entry_is_refused_by_name(written, named):
    with pytest.raises(ValueError, match=named):
        TierTables.parse(written)


async def test_a_request_is_decided_by_the_tiers_of_its_model(start, classifier_path):
    tables = TierTables.parse(OWN)
    models = ("small", "large")
    async with start(classifier=str(classifier_path), tier_budgets=tables, models=models) as stack:
        await stack.plan_when(lambda found: not found.degraded)
        small = await stack.plan(model="small", tier=TIER_COMPLEX)
        large = await stack.plan(model="large", tier=TIER_COMPLEX)

    assert [entry.budget_tokens for entry in small.survival] == [100, 200, 400, 800]
    assert [entry.budget_tokens for entry in large.survival] == [50, 500, 2_000, 10_000]
    assert (small.budget_tokens, large.budget_tokens) == (400, 2_000)


async def test_limits_and_escalation_go_by_the_tiers_of_the_model(start, classifier_path):
    tables = TierTables.parse(OWN)
    async with start(classifier=str(classifier_path), tier_budgets=tables) as stack:
        stack.easy.script.need = stack.thinking.script.need = lambda request: 350
        reply = await stack.reason(prompt="Find x when 6x + 3 = 39.")
        code, details = await stack.refusal(thinking_budget=801)

    assert (reply.decision.tier, reply.decision.budget_tokens) == (TIER_COMPLEX, 400)
    assert reply.usage.thinking_tokens == 350
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "use 0 to 800" in details


@pytest.mark.parametrize(("budget", "is_served"), [(200, True), (201, False)])
async def test_easy_workers_stand_in_up_to_the_models_moderate_tier(start, budget, is_served):
    async with start(tier_budgets=TierTables.parse(OWN)) as stack:
        await stack.thinking_server.stop(None)
        await stack.plan_when(
            lambda _: stack.router.pools.find(POOL_THINKING, MODEL, 200)[0] == POOL_EASY
        )
        found = stack.router.pools.find(POOL_THINKING, MODEL, budget)

    assert (found is not None) == is_served
