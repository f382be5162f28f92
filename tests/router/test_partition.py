"""The pools lend each other what is idle, and take it back; an escalation stays where it pays."""

import asyncio

from ponder.v1.budget_pb2 import (
    POOL_EASY,
    POOL_THINKING,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_SIMPLE,
)
from tests.router.conftest import eventually, request
from tests.router.small_worker import MODEL

HOLD_AT = 16


async def test_a_full_easy_pool_borrows_an_idle_thinking_worker_and_comes_home(start):
    async with start() as stack:
        stack.easy.script.max_running, stack.thinking.script.max_running = 1, 2
        stack.easy.script.hold_at = HOLD_AT
        await _knows_slots(stack)
        held = stack.stub.Reason(request())
        await stack.easy.holding.wait()
        lent = await stack.reason(tier=TIER_SIMPLE)
        stack.easy.release.set()
        await held
        home = await stack.reason(tier=TIER_SIMPLE)

        assert stack.counted("ponder.router.lent", pool="easy") == 1
        assert stack.counted("ponder.router.degraded", part="pool") == 0
    assert (lent.decision.pool, lent.decision.tier) == (POOL_THINKING, TIER_SIMPLE)
    assert home.decision.pool == POOL_EASY


async def test_long_work_gives_way_on_a_full_worker_to_a_request_that_would_wait_at_home(start):
    async with start() as stack:
        for worker, slots in ((stack.easy, 1), (stack.thinking, 2)):
            worker.script.max_running, worker.script.probation_tokens = slots, 600
        stack.thinking.script.need = lambda request: 700
        stack.easy.script.hold_at, stack.thinking.script.hold_at = HOLD_AT, 640
        await _knows_slots(stack)
        held = [stack.stub.Reason(request())]
        held += [stack.stub.Reason(request(tier=TIER_COMPLEX)) for _ in range(2)]
        await eventually(lambda: _is_full_of(stack, POOL_EASY, num_young=1))
        await eventually(lambda: _is_full_of(stack, POOL_THINKING, num_young=0))

        short = await stack.reason(tier=TIER_SIMPLE)
        stack.easy.release.set()
        stack.thinking.release.set()
        await asyncio.gather(*held)

    assert (short.decision.pool, short.decision.tier) == (POOL_THINKING, TIER_SIMPLE)
    assert short.usage.thinking_tokens == 50


async def test_a_worker_that_keeps_all_its_slots_for_long_work_is_not_asked_to_give_way(start):
    async with start() as stack:
        for worker, slots in ((stack.easy, 1), (stack.thinking, 2)):
            worker.script.max_running, worker.script.probation_tokens = slots, 600
            worker.script.demoted_slots = slots
        stack.thinking.script.need = lambda request: 700
        stack.easy.script.hold_at, stack.thinking.script.hold_at = HOLD_AT, 640
        await _knows_slots(stack)
        held = [stack.stub.Reason(request())]
        held += [stack.stub.Reason(request(tier=TIER_COMPLEX)) for _ in range(2)]
        await eventually(lambda: _is_full_of(stack, POOL_EASY, num_young=1))
        await eventually(lambda: _is_full_of(stack, POOL_THINKING, num_young=0))

        assert _easy_is_found(stack)
        stack.easy.release.set()
        stack.thinking.release.set()
        await asyncio.gather(*held)


async def test_thinking_work_borrows_an_easy_worker_that_allows_its_budget(start):
    async with start() as stack:
        stack.easy.script.max_running, stack.thinking.script.max_running = 2, 1
        stack.easy.script.max_thinking_budget = 10_000
        stack.thinking.script.hold_at = HOLD_AT
        await _knows_slots(stack)
        held = stack.stub.Reason(request(tier=TIER_COMPLEX))
        await stack.thinking.holding.wait()
        lent = await stack.reason(tier=TIER_COMPLEX)
        stack.thinking.release.set()
        await held

        assert stack.counted("ponder.router.lent", pool="thinking") == 1
    assert (lent.decision.pool, lent.decision.tier) == (POOL_EASY, TIER_COMPLEX)


async def test_a_lender_that_allows_less_thinks_the_beginning_and_gives_it_back(start):
    async with start() as stack:
        stack.easy.script.max_running, stack.thinking.script.max_running = 2, 1
        for worker in (stack.easy, stack.thinking):
            worker.script.need = lambda request: 700
        stack.thinking.script.hold_at = HOLD_AT
        await _knows_slots(stack)
        held = stack.stub.Reason(request(tier=TIER_COMPLEX))
        await stack.thinking.holding.wait()
        call = stack.stub.ReasonStream(request(tier=TIER_COMPLEX))
        await _reaches(call, 500)
        stack.thinking.release.set()
        final = [event async for event in call][-1].final
        await held
        traces = await stack.traces()

    (lent,) = stack.easy.requests
    assert (lent.thinking_budget, lent.answer_on_exhaustion) == (500, False)
    given_back = stack.thinking.requests[-1]
    assert (given_back.thinking_budget, len(given_back.thinking_prefix_ids)) == (2_000, 500)
    assert (final.decision.tier, final.decision.pool) == (TIER_COMPLEX, POOL_THINKING)
    assert (final.usage.thinking_tokens, final.usage.escalations) == (700, 0)
    assert [trace.usage.thinking_tokens for trace in traces] == [700, 700]


async def test_the_thinking_pool_keeps_half_of_its_slots(start):
    async with start() as stack:
        stack.easy.script.max_running, stack.thinking.script.max_running = 1, 2
        for worker in (stack.easy, stack.thinking):
            worker.script.hold_at = HOLD_AT
        await _knows_slots(stack)
        calls = []
        for worker in (stack.easy, stack.thinking):
            calls.append(asyncio.ensure_future(stack.reason(tier=TIER_SIMPLE)))
            await worker.holding.wait()
        calls.append(asyncio.ensure_future(stack.reason(tier=TIER_SIMPLE)))
        for worker in (stack.easy, stack.thinking):
            worker.script.hold_at = None
            worker.release.set()
        replies = await asyncio.gather(*calls)

    pools = [reply.decision.pool for reply in replies]
    assert pools == [POOL_EASY, POOL_THINKING, POOL_EASY]


async def test_an_escalation_stays_with_the_worker_that_holds_the_thinking(start):
    async with start() as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.max_running = 4
            worker.script.max_thinking_budget = 10_000
            worker.script.need = lambda request: 700
        await _knows_slots(stack)
        reply = await stack.reason()

    assert [seen.segment for seen in stack.easy.requests] == [0, 1]
    assert (reply.decision.tier, reply.decision.pool) == (TIER_COMPLEX, POOL_EASY)
    assert "pool" not in reply.decision.degraded_reason


async def test_a_worker_that_drains_gets_nothing_new_and_ends_what_it_runs(start):
    async with start() as stack:
        stack.easy.script.hold_at = HOLD_AT
        held = stack.stub.Reason(request())
        await stack.easy.holding.wait()
        stack.easy.script.is_draining = True
        await stack.plan_when(lambda _: not _easy_is_found(stack))
        other = await stack.reason(tier=TIER_MODERATE)
        stack.easy.release.set()
        reply = await held

        assert stack.counted("ponder.router.failovers") == 0
    assert (other.decision.pool, reply.decision.pool) == (POOL_THINKING, POOL_EASY)


async def _reaches(call, thinking_tokens: int) -> None:
    async for event in call:
        if event.progress.thinking_tokens == thinking_tokens:
            return
    raise AssertionError("it ended before")


async def _is_full_of(stack, pool, num_young: int) -> bool:
    load = stack.router.pools.load(pool, MODEL)
    return bool(load.in_flight >= load.slots and load.num_young == num_young)


async def _knows_slots(stack) -> None:
    """The script of a worker shows in its next report."""
    links = list(stack.router.pools.links())
    await stack.plan_when(lambda _: all(link.slots for link in links))


def _easy_is_found(stack) -> bool:
    found = stack.router.pools.find(POOL_EASY, "small", 1)
    return bool(found and found[0] == POOL_EASY)
