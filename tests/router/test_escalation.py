"""A spent budget goes on one tier up, from the thinking that was done."""

import pytest

from ponder.v1.budget_pb2 import (
    POOL_THINKING,
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    TIER_COMPLEX,
    TIER_MODERATE,
    Sampling,
)
from tests.router.conftest import request
from tests.router.small_worker import answer_of, token_at


def scripted(stack, need_tokens: int) -> None:
    for worker in (stack.easy, stack.thinking):
        worker.script.need = lambda request: need_tokens


async def test_the_next_tier_continues_from_the_thinking_prefix(start):
    async with start() as stack:
        scripted(stack, 700)
        reply = await stack.reason(sampling=Sampling(seed=5))

    (first,), (second,) = stack.easy.requests, stack.thinking.requests
    tokens = [token_at(5, place) for place in range(700)]
    assert list(second.thinking_prefix_ids) == tokens[:500]
    assert (first.segment, second.segment) == (0, 1)
    assert first.sampling == second.sampling
    assert reply.answer == "".join(answer_of(tokens))


async def test_the_reply_tells_the_tier_that_was_reached(start):
    async with start() as stack:
        scripted(stack, 700)
        reply = await stack.reason()

    decision = reply.decision
    assert (decision.tier, decision.budget_tokens) == (TIER_COMPLEX, 2_000)
    assert decision.pool == POOL_THINKING
    assert reply.thinking_stop == THINKING_STOP_FINISHED
    assert (reply.usage.escalations, reply.usage.thinking_tokens) == (1, 700)


async def test_all_segments_are_settled_once_and_as_the_reply_says(start):
    async with start() as stack:
        scripted(stack, 5_000)
        reply = await stack.reason()
        (trace,) = await stack.traces()

        assert trace.usage == reply.usage
        assert reply.usage.escalations == 2
        assert stack.counted("ponder.router.escalations") == 2


async def test_a_stream_sends_the_decision_again(start):
    async with start() as stack:
        scripted(stack, 700)
        events = await stack.stream()

    tiers = [event.decision.tier for event in events if event.HasField("decision")]
    assert tiers == [TIER_MODERATE, TIER_COMPLEX]
    assert max(event.progress.segment for event in events) == 1


@pytest.mark.parametrize("cap", [{"max_tier": TIER_MODERATE}, {"tier": TIER_MODERATE}])
async def test_a_cap_is_answered_at_its_budget(start, cap):
    async with start() as stack:
        scripted(stack, 700)
        reply = await stack.reason(**cap)

    assert reply.thinking_stop == THINKING_STOP_EXHAUSTED
    assert (reply.usage.thinking_tokens, reply.usage.escalations) == (500, 0)
    assert len(stack.easy.requests) == 1


async def test_the_entitlement_ends_the_escalation(start):
    async with start(max_tier="complex") as stack:
        scripted(stack, 9_000)
        reply = await stack.reason()

    assert (reply.decision.tier, reply.usage.thinking_tokens) == (TIER_COMPLEX, 2_000)
    assert reply.answer


async def test_an_answer_that_is_worth_little_is_not_escalated(start, classifier_path):
    async with start(classifier=str(classifier_path)) as stack:
        scripted(stack, 9_000)
        little, no_limit = [await stack.reason(worth_tokens=worth) for worth in (1, 0)]

    assert little.answer
    assert (little.decision.tier, little.usage.escalations) == (little.decision.worth_tier, 0)
    assert little.usage.thinking_tokens < no_limit.usage.thinking_tokens == 9_000


async def test_without_a_worker_for_the_next_tier_it_is_answered_at_this_one(start):
    async with start() as stack:
        scripted(stack, 700)
        stack.easy.script.hold_at = 480
        stack.easy.release.clear()
        call = stack.stub.ReasonStream(request())
        await stack.easy.holding.wait()
        await stack.thinking_server.stop(None)
        await stack.plan_when(lambda _: not _has_thinking_worker(stack))
        stack.easy.release.set()
        events = [event async for event in call]

    final = events[-1].final
    assert final.answer
    assert (final.decision.tier, final.usage.thinking_tokens) == (TIER_MODERATE, 500)
    assert [request.answer_on_exhaustion for request in stack.easy.requests] == [False, True]


def _has_thinking_worker(stack) -> bool:
    found = stack.router.pools.find(POOL_THINKING, "small", 10_000)
    return found is not None
