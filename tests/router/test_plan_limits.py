"""What a tenant's plan has no more of: refused by name, lowered where that helps, never stuck."""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from ponder.ledger import Ledger
from ponder.plans import TenantPlan
from ponder.quotas import Quotas, RequestName, Spent, Used, month_of
from ponder.rpc import RETRY_AFTER_KEY
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_MODERATE, TIER_SIMPLE
from router.allowance import LocalAllowance
from tests.router.conftest import DEADLINE_S, Stack, eventually, request
from tests.router.small_worker import MODEL

METADATA = (("authorization", "Bearer secret"),)
TENANT = "acme"


@pytest.fixture
def plan_file(tmp_path: Path):
    def write(**limits: int) -> str:
        path = tmp_path / "tenants.toml"
        digest = hashlib.sha256(b"secret").hexdigest()
        lines = [f"[tenants.{TENANT}]", 'max_tier = "complex"', f'key_sha256 = ["{digest}"]']
        path.write_text("\n".join(lines + [f"{name} = {n}" for name, n in limits.items()]))
        return str(path)

    return write


async def reason(stack: Stack, **fields: Any) -> pb.ReasonReply:
    call = stack.stub.Reason(request(**fields), metadata=METADATA, timeout=DEADLINE_S)
    reply: pb.ReasonReply = await call
    return reply


async def refusal(stack: Stack, **fields: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reason(stack, **fields)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    return caught.value


def retry_after_ms(error: grpc.aio.AioRpcError) -> int:
    return int(dict(error.trailing_metadata())[RETRY_AFTER_KEY])


async def used(stack: Stack) -> Used:
    return await stack.ledger.quotas.read(TENANT, time.time())


async def used_when(stack: Stack, running: int) -> Used:
    async def reached() -> Used | None:
        found = await used(stack)
        return found if found.running == running else None

    return await eventually(reached)


async def test_what_was_thought_is_charged_and_the_reservation_ends(start, plan_file):
    async with start(tenants_file=plan_file(tokens_per_month=10_000)) as stack:
        stack.easy.script.hold_at = 16
        running = asyncio.ensure_future(reason(stack))
        await stack.easy.holding.wait()
        before = await used(stack)
        stack.easy.release.set()
        reply = await running
        after = await used(stack)

    # Without a prediction the whole budget may be needed.
    assert (before.running, before.reserved) == (1, 500)
    assert after == Used(
        by_month={month_of(time.time()): reply.usage.thinking_tokens}, running=0, reserved=0
    )


async def test_too_few_tokens_this_minute_are_refused_with_the_time_to_wait(start, plan_file):
    async with start(tenants_file=plan_file(tokens_per_minute=600)) as stack:
        await stack.ledger.quotas.reserve(
            RequestName(tenant=TENANT, model=MODEL, request_id="other"),
            590,
            TenantPlan(tokens_per_minute=600),
            life_s=60,
            now_s=time.time(),
        )
        error = await refusal(stack, tier=TIER_SIMPLE)

        assert not stack.easy.requests
    assert "tokens_per_minute: of the 600 thinking tokens" in (error.details() or "")
    assert 0 < retry_after_ms(error) <= 4_000


async def test_too_few_tokens_this_month_are_refused_until_the_next(start, plan_file):
    async with start(tenants_file=plan_file(tokens_per_month=40)) as stack:
        error = await refusal(stack, thinking_budget=41)
        reply = await reason(stack, thinking_budget=40)
        again = await refusal(stack)

    assert "tokens_per_month: of the 40 thinking tokens in your plan 40 are left" in (
        error.details() or ""
    )
    assert reply.usage.thinking_tokens == 40
    assert "0 are left" in (again.details() or "")
    assert retry_after_ms(again) > 0


async def test_an_automatic_request_goes_on_at_the_tier_there_are_tokens_for(start, plan_file):
    async with start(tenants_file=plan_file(tokens_per_month=499)) as stack:
        stack.easy.script.need = lambda request: 900
        reply = await reason(stack)

    assert (reply.decision.tier, reply.usage.escalations) == (TIER_SIMPLE, 0)
    assert list(reply.decision.clamps) == [pb.CLAMP_ENTITLEMENT]
    assert reply.usage.thinking_tokens == 50


async def test_what_was_asked_for_by_name_is_refused_rather_than_lowered(start, plan_file):
    async with start(tenants_file=plan_file(tokens_per_month=499)) as stack:
        error = await refusal(stack, tier=TIER_MODERATE)

    assert "expected to need 500" in (error.details() or "")


async def test_no_more_requests_at_once_than_the_plan_has(start, plan_file):
    async with start(tenants_file=plan_file(concurrency=1)) as stack:
        stack.easy.script.hold_at = 16
        first = asyncio.ensure_future(reason(stack))
        await stack.easy.holding.wait()
        error = await refusal(stack)
        stack.easy.release.set()
        await first
        second = await reason(stack)

    assert "concurrency: your plan runs 1 requests at once" in (error.details() or "")
    assert retry_after_ms(error) == 1_000
    assert second.answer


@pytest.mark.parametrize("die", [False, True])
async def test_a_request_that_fails_or_is_cancelled_keeps_no_place(start, plan_file, die):
    async with start(tenants_file=plan_file(concurrency=1), max_failovers=0) as stack:
        stack.easy.script.hold_at = 16
        stack.easy.script.die_at = 17 if die else None
        call = stack.stub.Reason(request(), metadata=METADATA, timeout=DEADLINE_S)
        await stack.easy.holding.wait()
        await used_when(stack, 1)
        if die:
            stack.easy.release.set()
            assert await call.code() == grpc.StatusCode.UNAVAILABLE
        else:
            call.cancel()
        await used_when(stack, 0)


async def test_a_joined_request_is_reserved_and_charged_once(start, plan_file):
    async with start(tenants_file=plan_file(concurrency=1, tokens_per_month=10_000)) as stack:
        stack.easy.script.hold_at = 16
        first = asyncio.ensure_future(reason(stack, request_id="q-1"))
        await stack.easy.holding.wait()
        call = stack.stub.ReasonStream(
            request(request_id="q-1"), metadata=METADATA, timeout=DEADLINE_S
        )
        events = aiter(call)
        assert (await anext(events)).HasField("decision")
        stack.easy.release.set()
        replies = [await first, [event async for event in events][-1].final]
        spent = (await used(stack)).by_month

    assert replies[0] == replies[1]
    assert spent == {month_of(time.time()): replies[0].usage.thinking_tokens}


async def test_without_redis_a_local_allowance_stands_in(start, own_redis, plan_file):
    path = plan_file(tokens_per_minute=600)
    async with start(tenants_file=path, redis_url=own_redis.url) as stack:
        os.kill(own_redis.pid, signal.SIGKILL)
        own_redis.stop()
        stack.easy.script.hold_at = 0  # the worker of the tests has no spool to settle into
        call = stack.stub.ReasonStream(
            request(tier=TIER_MODERATE), metadata=METADATA, timeout=DEADLINE_S
        )
        first = await anext(aiter(call))
        error = await refusal(stack, tier=TIER_MODERATE)
        call.cancel()

        assert stack.counted("ponder.router.degraded", part="quotas") == 2
    assert "quotas: Redis does not answer" in first.decision.degraded_reason
    assert "tokens_per_minute" in (error.details() or "")


async def test_a_redis_that_hangs_delays_one_request_not_each(start, own_redis, plan_file):
    path = plan_file(concurrency=4)
    async with start(tenants_file=path, redis_url=own_redis.url) as stack:
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:
            call = stack.stub.ReasonStream(request(), metadata=METADATA, timeout=DEADLINE_S)
            first = await anext(aiter(call))
            call.cancel()
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)

    assert "quotas: Redis does not answer" in first.decision.degraded_reason


def test_a_local_allowance_holds_a_minute_and_refills():
    local = LocalAllowance(TenantPlan(tokens_per_minute=60), 0.0)

    assert local.take(50, 0.0) is None
    lacking = local.take(20, 5.0)
    assert lacking is not None
    assert (lacking.available, lacking.refills_in_s) == (15, 5.0)
    assert local.take(20, 10.0) is None
    assert local.take(600, 69.0) is not None
    assert local.take(600, 70.0) is None


def test_a_local_allowance_of_a_month_is_a_hundredth_of_it():
    local = LocalAllowance(TenantPlan(tokens_per_month=1_000), 0.0)

    assert local.take(10, 0.0) is None
    assert local.take(1, 60.0) is not None
    assert local.take(1, 2_592.0) is None


def test_a_local_allowance_counts_what_runs():
    local = LocalAllowance(TenantPlan(concurrency=1), 0.0)

    with local.running_one():
        lacking = local.take(1, 0.0)
        assert lacking is not None
        assert lacking.limit == "concurrency"
    assert local.take(1, 0.0) is None


async def test_the_tier_of_a_plan_still_bounds_everything(start, plan_file):
    async with start(tenants_file=plan_file(tokens_per_minute=1_000_000)) as stack:
        reply = await reason(stack, tier=TIER_COMPLEX)

    assert reply.decision.tier == TIER_COMPLEX


async def test_the_router_charges_what_a_dead_worker_settled(start, plan_file):
    async with start(tenants_file=plan_file(tokens_per_month=10_000)) as stack:
        await reason(stack)
        (record,) = await stack.traces()
        dying = Ledger(stack.ledger.client, stack.ledger.config, NeverCharges())
        with pytest.raises(Killed):
            await dying.settle(replace(record, request_id="another"))

        async def charged_for_both() -> bool:
            return (await used(stack)).by_month == {month_of(time.time()): 2 * 40}

        await eventually(charged_for_both)


class Killed(BaseException):
    """As the process ends here."""


class NeverCharges(Quotas):
    def __init__(self) -> None:
        """Needs no Redis."""

    async def charge_all(self, spent: Sequence[Spent], *, remembered_s: int) -> list[bool]:
        raise Killed
