"""A worker that dies mid-thought costs no thinking and no second settlement."""

import grpc
import pytest

from ponder.v1.budget_pb2 import (
    POOL_EASY,
    POOL_THINKING,
    THINKING_STOP_CANCELLED,
    TIER_COMPLEX,
    TIER_MODERATE,
    Sampling,
)
from tests.router.small_worker import answer_of, serving, token_at

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


async def test_the_other_worker_goes_on_from_the_last_received_token(start):
    async with start() as stack:
        stack.easy.script.die_at = 32
        reply = await stack.reason(sampling=Sampling(seed=9))

    (resumed,) = stack.thinking.requests
    assert list(resumed.thinking_prefix_ids) == [token_at(9, place) for place in range(32)]
    assert reply.answer == "".join(answer_of([token_at(9, place) for place in range(40)]))


async def test_it_is_settled_once_and_as_the_reply_says(start):
    async with start() as stack:
        stack.easy.script.die_at = 32
        reply = await stack.reason()
        (trace,) = await stack.traces()

        assert trace.usage == reply.usage
        assert (reply.usage.thinking_tokens, reply.usage.escalations) == (40, 0)
        assert stack.counted("ponder.router.failovers") == 1


async def test_the_reply_tells_that_another_pool_stood_in(start):
    async with start() as stack:
        stack.easy.script.die_at = 32
        decision = (await stack.reason(tier=TIER_MODERATE)).decision

    assert (decision.pool, decision.degraded) == (POOL_THINKING, True)
    assert "easy pool" in decision.degraded_reason


async def test_a_caller_sees_every_character_of_the_answer_once(start):
    async with start() as stack:
        stack.easy.script.die_in_answer = True
        events = await stack.stream()

    assert "".join(event.answer_delta for event in events) == events[-1].final.answer


async def test_a_worker_that_dies_with_the_budget_spent_is_replaced_one_tier_up(start):
    async with start() as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.need = lambda request: 700
        stack.easy.script.die_at = 500
        reply = await stack.reason()

    (resumed,) = stack.thinking.requests
    assert len(resumed.thinking_prefix_ids) == 500
    assert (reply.decision.tier, reply.usage.thinking_tokens) == (TIER_COMPLEX, 700)


async def test_a_worker_that_ends_without_a_result_is_replaced(start):
    async with start() as stack:
        stack.easy.script.give_up = True
        reply = await stack.reason()
        (trace,) = await stack.traces()

    assert (trace.worker, trace.usage) == ("thinking", reply.usage)


async def test_when_nobody_is_left_the_router_settles_what_was_thought(start):
    async with start() as stack:
        stack.easy.script.die_at = 32
        stack.thinking.script.refuse = grpc.StatusCode.UNAVAILABLE
        code, _ = await stack.refusal(request_id="q-1")
        (trace,) = await stack.traces_when(1)

    assert code == UNAVAILABLE
    assert (trace.request_id, trace.usage.thinking_tokens) == ("q-1", 32)
    assert trace.stop == THINKING_STOP_CANCELLED
    assert trace.worker.startswith("router")


async def test_a_request_that_loses_worker_after_worker_is_given_up(start):
    async with start(max_failovers=0) as stack:
        stack.easy.script.die_at = 16
        code, message = await stack.refusal()

    assert (code, stack.thinking.requests) == (UNAVAILABLE, [])
    assert "lost" in message


async def test_when_the_worker_of_the_higher_tier_is_lost_both_segments_are_settled_once(start):
    async with start() as stack:
        stack.easy.script.need = lambda request: 700
        stack.thinking.script.die_at = 501
        stack.thinking.script.need = lambda request: 700
        code, _ = await stack.refusal()
        (trace,) = await stack.traces_when(1)

    assert code == UNAVAILABLE
    assert (len(stack.thinking.requests), trace.usage.escalations) == (1, 1)


async def test_a_full_worker_is_passed_over(start):
    async with start() as stack:
        stack.easy.script.refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
        reply = await stack.reason()

    assert (reply.decision.pool, len(stack.thinking.requests)) == (POOL_THINKING, 1)


async def test_all_workers_full_is_said(start):
    async with start() as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
        code, message = await stack.refusal()

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "try again" in message


async def test_what_a_worker_finds_wrong_is_passed_on(start):
    async with start() as stack:
        stack.easy.script.refuse = grpc.StatusCode.INVALID_ARGUMENT
        code, message = await stack.refusal()

    assert (code, message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "prompt: refused by the script; send another",
    )


async def test_easy_work_runs_on_thinking_workers_when_the_easy_pool_is_gone(start):
    async with start() as stack:
        await stack.easy_server.stop(None)
        reply = await stack.reason()

    assert (reply.decision.tier, reply.decision.pool) == (TIER_MODERATE, POOL_THINKING)


@pytest.mark.parametrize(("budget", "is_served"), [(500, True), (501, False)])
async def test_thinking_work_runs_on_easy_workers_under_their_cap_only(start, budget, is_served):
    async with start() as stack:
        await stack.thinking_server.stop(None)
        if is_served:
            assert (await stack.reason(thinking_budget=budget)).decision.pool == POOL_EASY
        else:
            assert (await stack.refusal(thinking_budget=budget))[0] == UNAVAILABLE


async def test_a_worker_that_comes_back_is_used_again(start):
    async with start() as stack:
        port = int(stack.router.pools.find(POOL_EASY, "small", 1)[1].address.split(":")[1])
        await stack.easy_server.stop(None)
        await stack.reason()
        async with serving(stack.easy, port):
            await stack.plan_when(lambda _: _easy_is_back(stack))
            reply = await stack.reason()

    assert reply.decision.pool == POOL_EASY


def _easy_is_back(stack) -> bool:
    found = stack.router.pools.find(POOL_EASY, "small", 1)
    return bool(found and found[0] == POOL_EASY)
