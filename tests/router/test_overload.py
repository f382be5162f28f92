"""More work than there is room for: smaller budgets, then refusals that say when to return."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest

from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import (
    POOL_EASY,
    POOL_THINKING,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
)
from ponder.v1.reasoner_pb2 import CLAMP_LOAD
from router.admission import RETRY_RESERVE
from tests.router.conftest import DEADLINE_S, eventually, request

# One slot and 10 tokens a second: 500 tokens are a queue of 50 s.
MS_PER_TOKEN = 100.0
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@asynccontextmanager
async def saturated(stack, *tiers):
    """Each pool has one slot, which a request of one of the tiers holds for the block."""
    workers = {POOL_EASY: stack.easy, POOL_THINKING: stack.thinking}
    for worker in workers.values():
        worker.script.max_running, worker.script.ms_per_token = 1, MS_PER_TOKEN
        worker.script.hold_at = 0
    links = list(stack.router.pools.links())
    await stack.plan_when(lambda _: all(link.slots for link in links))
    calls = []
    for tier in tiers:
        worker = workers[POOL_EASY if tier in (TIER_SIMPLE, TIER_MODERATE) else POOL_THINKING]
        calls.append(asyncio.ensure_future(ask(stack, tier=tier)))
        await worker.holding.wait()
    for worker in workers.values():
        worker.script.hold_at = None
    try:
        yield
    finally:
        for worker in workers.values():
            worker.release.set()
        await asyncio.gather(*calls)


async def ask(stack, timeout_s: float = 600.0, **fields):
    """With time enough for a large budget, though these workers are slow."""
    return await stack.stub.Reason(request(**fields), timeout=timeout_s)


async def test_what_a_full_thinking_pool_cannot_take_is_answered_with_less(start):
    async with start() as stack, saturated(stack, TIER_RESEARCH):
        reply = await ask(stack, tier=TIER_COMPLEX)

        assert reply.answer
        assert (reply.decision.tier, reply.decision.pool) == (TIER_MODERATE, POOL_EASY)
        assert list(reply.decision.clamps) == [CLAMP_LOAD]
        assert stack.counted("ponder.router.shrunk", tier="moderate") == 1


async def test_easy_work_does_not_feel_a_full_thinking_pool(start):
    async with start() as stack, saturated(stack, TIER_RESEARCH):
        decision = (await ask(stack, tier=TIER_MODERATE)).decision

    assert (decision.tier, list(decision.clamps)) == (TIER_MODERATE, [])


async def test_a_queue_that_is_full_refuses_and_says_when_to_return(start):
    async with start() as stack, saturated(stack, TIER_RESEARCH, TIER_MODERATE):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(stack, tier=TIER_SIMPLE)
        after_ms = dict(caught.value.trailing_metadata() or ())["retry-after-ms"]

        assert caught.value.code() == EXHAUSTED
        assert "try again in 24 seconds" in (caught.value.details() or "")
        # 500 thinking tokens and an answer of 32 at 10 tokens a second, less the bound of 30 s.
        assert int(after_ms) == pytest.approx(23_200, abs=10)
        assert stack.counted("ponder.router.shed") == 1


async def test_the_length_of_the_queues_is_shown(start):
    async with start() as stack, saturated(stack, TIER_RESEARCH, TIER_MODERATE):

        async def shown() -> bool:
            waits_s = stack.counted("ponder.router.queue", pool="easy", model="small")
            return bool(waits_s > 50.0)

        assert await eventually(shown)


async def test_a_longer_queue_may_be_allowed(start):
    async with start(max_queue_s=60.0) as stack, saturated(stack, TIER_RESEARCH, TIER_MODERATE):
        planned = pb.PlanRequest(request=request(tier=TIER_MODERATE))
        decision = (await stack.stub.Plan(planned, timeout=600)).decision

    assert (decision.tier, list(decision.clamps)) == (TIER_SIMPLE, [CLAMP_LOAD])


async def test_a_deadline_that_only_the_queue_breaks_is_told_as_load(start):
    async with (
        start(max_queue_s=600.0) as stack,
        saturated(stack, TIER_RESEARCH, TIER_MODERATE),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(stack, timeout_s=DEADLINE_S, tier=TIER_SIMPLE)

    assert caught.value.code() == EXHAUSTED


async def test_the_budget_fits_into_what_the_queue_leaves_of_the_deadline(start):
    async with start(max_queue_s=600.0) as stack, saturated(stack, TIER_RESEARCH, TIER_SIMPLE):
        free = await stack.stub.Reason(
            request(tier=TIER_COMPLEX, max_tier=TIER_MODERATE), timeout=30
        )

    # 8.2 s of queue leave 21.8 s, of which 32 tokens are the answer's.
    assert free.decision.budget_tokens == pytest.approx(185, abs=3)


async def test_an_escalation_into_a_full_pool_ends_with_an_answer_instead(start):
    async with start() as stack, saturated(stack, TIER_RESEARCH):
        stack.easy.script.need = lambda request: 700
        reply = await ask(stack)

    assert reply.answer
    assert (reply.usage.thinking_tokens, reply.usage.escalations) == (500, 0)


async def test_workers_that_refuse_everything_are_asked_little_more_than_once(start):
    async with start() as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.refuse = EXHAUSTED
        num_requests = 400
        codes = [(await stack.refusal())[0] for _ in range(num_requests)]

        assert set(codes) == {EXHAUSTED}
        asked = len(stack.easy.requests) + len(stack.thinking.requests)
        assert asked <= 1.1 * num_requests + RETRY_RESERVE
        assert stack.counted("ponder.router.retries_refused") > 0
