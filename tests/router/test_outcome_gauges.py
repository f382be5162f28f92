"""Metrics of coverage: per model, classifier and tier, and which classifier predicted."""

import pytest

from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_SIMPLE
from tests.router.conftest import eventually

PROMPT = "Find x when 6x + 3 = 39."


async def test_misses_of_first_budgets_are_shown_beside_the_promise(start, classifier_path):
    async with start(classifier=str(classifier_path)) as stack:
        planned = await stack.plan_when(lambda found: not found.degraded, prompt=PROMPT)
        labels = {"model": "small", "classifier": planned.classifier_version, "tier": "simple"}
        stack.easy.script.need = lambda request: 40
        await stack.reason(prompt=PROMPT)
        stack.easy.script.need = lambda request: 200
        await stack.reason(prompt=PROMPT)

        async def shown() -> bool:
            return bool(stack.counted("ponder.router.budget_hit_rate", **labels) == 0.5)

        assert await eventually(shown)
        residual = stack.counted("ponder.router.coverage_residual", **labels)
        others = stack.counted("ponder.router.budget_hit_rate", tier="complex")

    expected = planned.survival[0].survival
    assert planned.tier == TIER_SIMPLE
    # The first outcome may have corrected the promise of the second.
    assert residual == pytest.approx(0.5 - expected, abs=0.01)
    assert others == 0


async def test_the_classifier_that_predicted_is_counted(start, classifier_path):
    async with start(classifier=str(classifier_path)) as stack:
        await stack.reason()
        assert stack.counted("ponder.router.classified", by="chosen") == 1
    async with start() as stack:
        reply = await stack.reason()
        assert stack.counted("ponder.router.classified", by="none") == 1

    assert reply.decision.rule == pb.RULE_DEGRADED_DEFAULT
