"""A router that knows the tenants in Redis: it follows changes, and stands without Redis."""

import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import redis.asyncio

from ponder import keys
from ponder.ledger import Ledger, LedgerConfig
from ponder.plans import TenantPlan
from ponder.tenant_store import StoredTenants, TenantRecord, TenantStore
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_MODERATE
from router.tenant_upkeep import TenantUpkeep
from router.tenants import Tenants
from tests.router.conftest import DEADLINE_S, Stack, eventually, request

KEY = "ponder-secret"


def metadata(key: str = KEY) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def put(stack: Stack, name: str = "acme", key: str = KEY, **plan: Any) -> None:
    record = TenantRecord(name=name, plan=TenantPlan(**plan), created_at_s=0.0)
    store = TenantStore.beside(stack.ledger)
    await store.change(lambda records: record.with_key(key, time.time()))


async def status(stack: Stack, key: str = KEY, **fields: Any) -> grpc.StatusCode:
    planned = pb.PlanRequest(request=request(**fields))
    call = stack.stub.Plan(planned, metadata=metadata(key), timeout=DEADLINE_S)
    code: grpc.StatusCode = await call.code()
    return code


async def status_when(stack: Stack, wanted: grpc.StatusCode, **fields: Any) -> None:
    async def reached() -> bool:
        return await status(stack, **fields) == wanted

    await eventually(reached)


async def test_a_tenant_added_changed_and_revoked_is_followed_without_a_restart(start):
    async with start(stored_tenants=True) as stack:
        assert await status(stack) == grpc.StatusCode.UNAUTHENTICATED
        await put(stack, max_tier=TIER_MODERATE)
        await status_when(stack, grpc.StatusCode.OK)
        assert await status(stack, tier=TIER_COMPLEX) == grpc.StatusCode.PERMISSION_DENIED

        await put(stack, max_tier=TIER_COMPLEX)
        await status_when(stack, grpc.StatusCode.OK, tier=TIER_COMPLEX)

        await TenantStore.beside(stack.ledger).remove("acme")
        await status_when(stack, grpc.StatusCode.UNAUTHENTICATED)


async def test_the_trace_names_the_tenant_of_the_key(start):
    async with start(stored_tenants=True) as stack:
        await put(stack)
        await status_when(stack, grpc.StatusCode.OK)
        await stack.stub.Reason(request(), metadata=metadata(), timeout=DEADLINE_S)
        (trace,) = await stack.traces()

    assert trace.tenant == "acme"


async def test_without_redis_the_last_known_tenants_stand(start, own_redis, caplog):
    async def warned() -> bool:
        return "the last known ones stand" in caplog.text

    async with start(stored_tenants=True, redis_url=own_redis.url) as stack:
        await put(stack)
        await status_when(stack, grpc.StatusCode.OK)
        os.kill(own_redis.pid, signal.SIGKILL)
        own_redis.stop()
        await eventually(warned)

        assert await status(stack) == grpc.StatusCode.OK
        assert await status(stack, key="other") == grpc.StatusCode.UNAUTHENTICATED


async def test_a_redis_that_was_emptied_locks_nobody_out(start, redis_url, caplog):
    async def warned() -> bool:
        return "Redis has lost its tenants: the 1 last known ones stand" in caplog.text

    async with start(stored_tenants=True) as stack:
        await put(stack)
        await status_when(stack, grpc.StatusCode.OK)
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.flushall()
        await eventually(warned)

        assert await status(stack) == grpc.StatusCode.OK
        await put(stack, name="other", key="k2")
        await status_when(stack, grpc.StatusCode.UNAUTHENTICATED)


async def test_an_unreadable_record_lets_its_tenant_in_no_more_and_no_other_out(start, redis_url):
    async with start(stored_tenants=True) as stack:
        await put(stack)
        await put(stack, name="other", key="k2")
        await status_when(stack, grpc.StatusCode.OK)
        await status_when(stack, grpc.StatusCode.OK, key="k2")
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            await client.hset(keys.TENANTS, "acme", '{"plan": {"max_tier": "all"}}')
            await client.hincrby(keys.TENANTS, "", 1)  # as whoever changes one does

        await status_when(stack, grpc.StatusCode.UNAUTHENTICATED)
        assert await status(stack, key="k2") == grpc.StatusCode.OK


class CountingStore(TenantStore):
    num_reads = 0

    async def read(self) -> StoredTenants:
        self.num_reads += 1
        return await super().read()


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    opened = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    yield opened
    await opened.close()


async def test_all_tenants_are_read_only_when_one_was_changed(config, ledger):
    now_s, tenants = [0.0], Tenants(())
    config = replace(config, stored_tenants=True)
    upkeep = TenantUpkeep(config, ledger, tenants, lambda: now_s[0])
    store = upkeep._store = CountingStore.beside(ledger)

    async def num_reads(rounds: int) -> int:
        before = store.num_reads
        for _ in range(rounds):
            await upkeep.refresh()
        return store.num_reads - before

    async def add(name: str) -> None:
        await store.change(lambda _: TenantRecord(name=name, plan=TenantPlan(), created_at_s=0.0))

    await add("acme")
    assert await num_reads(10) == 1
    await add("other")
    assert await num_reads(10) == 1
    assert set(tenants.names) == {"acme", "other"}
    await store.remove("acme")
    assert await num_reads(10) == 1
    assert set(tenants.names) == {"other"}

    now_s[0] += 61.0  # whoever changed one without a word is found out
    assert await num_reads(10) == 1
