"""The quota scripts on a real Redis, against a plain model of what they promise."""

import asyncio
from dataclasses import dataclass, field

import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder import keys
from ponder.ledger import Ledger, LedgerConfig
from ponder.plans import TenantPlan
from ponder.quotas import Lacking, Quotas, RequestName, Used, month_ends_in_s
from ponder.redis_call import LedgerUnavailable
from ponder.v1 import budget_pb2

START_MS = 1_800_000_000_000
MONTH = "2027-01"
LIFE_S = 20
NOW_S = START_MS / 1e3
TENANT = "acme"


@dataclass
class Plain:
    """What a plan allows, without Redis. The level is in thousandths of tokens."""

    plan: TenantPlan
    level: int = field(init=False)
    filled_ms: int = START_MS
    spent: int = 0
    kept: dict[str, tuple[int, int]] = field(default_factory=dict)
    charged: set[str] = field(default_factory=set)
    admitted: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.level = self.plan.tokens_per_minute * 1000

    def reserve(self, name: str, tokens: int, now_ms: int) -> str:
        others = {other: held for other, held in self.alive(now_ms).items() if other != name}
        held = sum(others.values())
        self._fill(now_ms)
        plan, minute = self.plan, self.plan.tokens_per_minute
        if plan.concurrency and len(others) >= plan.concurrency:
            return "concurrency"
        if minute and tokens and min(tokens, minute) * 1000 > self.level - held * 1000:
            return "tokens_per_minute"
        if plan.tokens_per_month and tokens and tokens > plan.tokens_per_month - self.spent - held:
            return "tokens_per_month"
        self.kept[name] = (now_ms + LIFE_S * 1000, tokens)
        self.admitted.append(tokens)
        return ""

    def alive(self, now_ms: int) -> dict[str, int]:
        """What is reserved for whom."""
        return {name: held for name, (ends_ms, held) in self.kept.items() if ends_ms > now_ms}

    def charge(self, name: str, tokens: int, now_ms: int) -> bool:
        self.kept.pop(name, None)
        if name in self.charged:
            return False
        self.charged.add(name)
        self.spent += tokens
        self._fill(now_ms)
        self.level -= tokens * 1000
        return True

    def _fill(self, now_ms: int) -> None:
        full = self.plan.tokens_per_minute * 1000
        refill = (now_ms - self.filled_ms) * self.plan.tokens_per_minute // 60
        self.level, self.filled_ms = min(full, self.level + refill), now_ms


def name_of(request_id: str) -> RequestName:
    return RequestName(tenant=TENANT, model="m", request_id=request_id)


limits = st.one_of(st.just(0), st.integers(1, 300))
plans = st.builds(
    TenantPlan,
    tokens_per_minute=limits,
    tokens_per_month=limits,
    concurrency=st.one_of(st.just(0), st.integers(1, 3)),
)
names = st.sampled_from([f"q-{i}" for i in range(6)])
tokens = st.integers(0, 200)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), names, tokens),
        st.tuples(st.just("charge"), names, tokens),
        st.tuples(st.just("release"), names, st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 40_000)),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(plan=plans, steps=steps)
def test_the_scripts_do_what_the_plain_model_does(redis_server, plan, steps):
    asyncio.run(_both(redis_server.url, plan, steps))


async def _both(url: str, plan: TenantPlan, steps: list[tuple[str, str, int]]) -> None:
    plain, now_ms, overshoot = Plain(plan), START_MS, 0
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.flushall()
        quotas = Quotas(client, 20, lambda: now_ms)
        # The first reservation makes the bucket; it is over at once.
        await quotas.reserve(name_of("first"), 0, plan, life_s=0.001, now_s=NOW_S)
        now_ms += 1
        for step, name, number in steps:
            if step == "wait":
                now_ms += number
            elif step == "reserve":
                lacking = await quotas.reserve(
                    name_of(name), number, plan, life_s=LIFE_S, now_s=NOW_S
                )
                assert (lacking.limit if lacking else "") == plain.reserve(name, number, now_ms)
            elif step == "charge":
                reserved = plain.alive(now_ms).get(name, 0)
                charged = await quotas.charge(
                    name_of(name), number, finished_at_s=NOW_S, remembered_s=100
                )
                assert charged == plain.charge(name, number, now_ms)
                overshoot += charged * max(0, number - reserved)
            else:
                await quotas.release(name_of(name))
                plain.kept.pop(name, None)
            alive = plain.alive(now_ms)
            months = {MONTH: plain.spent} if plain.charged else {}
            assert await quotas.read(TENANT, now_ms / 1e3) == Used(
                by_month=months, running=len(alive), reserved=sum(alive.values())
            )
            check_within(plan, plain, overshoot, now_ms)


def check_within(plan: TenantPlan, plain: Plain, overshoot: int, now_ms: int) -> None:
    """`overshoot`: what was charged beyond what was reserved for it at that moment."""
    if plan.concurrency:
        assert len(plain.alive(now_ms)) <= plan.concurrency
    if plan.tokens_per_month:
        assert plain.spent <= plan.tokens_per_month + overshoot
    if minute := plan.tokens_per_minute:
        # A reservation above a minute's tokens waits for a full bucket, then owes the rest.
        owed = sum(max(0, tokens - minute) for tokens in plain.admitted)
        refilled = (now_ms - START_MS) * minute / 60_000
        assert plain.spent <= minute + refilled + overshoot + owed


@pytest.fixture
async def quotas(redis_url):
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield Quotas(client, 20)


async def test_a_refusal_says_what_is_left_and_when_it_suffices(redis_url):
    now_ms = START_MS
    plan = TenantPlan(tokens_per_minute=600)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        quotas = Quotas(client, 20, lambda: now_ms)
        assert await quotas.reserve(name_of("a"), 500, plan, life_s=60, now_s=NOW_S) is None

        refused = await quotas.reserve(name_of("b"), 130, plan, life_s=60, now_s=NOW_S)
        assert refused == Lacking(limit="tokens_per_minute", available=100, refills_in_s=3.0)

        await quotas.charge(name_of("a"), 500, finished_at_s=NOW_S, remembered_s=100)
        now_ms += 2_999
        assert await quotas.reserve(name_of("b"), 130, plan, life_s=60, now_s=NOW_S) is not None
        now_ms += 1
        assert await quotas.reserve(name_of("b"), 130, plan, life_s=60, now_s=NOW_S) is None


async def test_a_month_ends_with_the_calendar_in_utc(quotas):
    plan = TenantPlan(tokens_per_month=100)
    await quotas.charge(name_of("a"), 90, finished_at_s=NOW_S, remembered_s=100)

    refused = await quotas.reserve(name_of("b"), 20, plan, life_s=60, now_s=NOW_S)
    assert refused == Lacking(
        limit="tokens_per_month", available=10, refills_in_s=month_ends_in_s(NOW_S)
    )
    later_s = NOW_S + month_ends_in_s(NOW_S)
    assert await quotas.reserve(name_of("b"), 20, plan, life_s=60, now_s=later_s) is None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-5", "1e400", "9" * 400, "many", ""])
async def test_a_corrupted_count_neither_lifts_a_limit_nor_bars_the_tenant(redis_url, value):
    plan = TenantPlan(tokens_per_minute=200, tokens_per_month=100, concurrency=2)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        quotas = Quotas(client, 20, lambda: START_MS)
        spoilt = dict.fromkeys((MONTH, "level", "at_ms", "rate"), value)
        await client.hset(keys.quota(TENANT), mapping=spoilt)
        await client.hset(keys.reservations(TENANT), mapping={"m/x": value, "m/y": f"{value} 1"})

        for name, wanted in (("a", None), ("b", "tokens_per_month")):
            lacking = await quotas.reserve(name_of(name), 60, plan, life_s=60, now_s=NOW_S)
            assert (lacking.limit if lacking else None) == wanted
            assert (await quotas.read(TENANT, NOW_S)).reserved == 60
        await client.hset(keys.quota(TENANT), mapping=spoilt)
        await quotas.charge(name_of("a"), 60, finished_at_s=NOW_S, remembered_s=100)

        assert await quotas.read(TENANT, NOW_S) == Used(by_month={MONTH: 60}, running=0, reserved=0)


async def test_many_routers_at_once_admit_no_more_than_the_plan_has(redis_url):
    plan = TenantPlan(tokens_per_month=1_000, concurrency=7)
    clients = [redis.asyncio.Redis.from_url(redis_url) for _ in range(3)]
    asked = [
        Quotas(clients[i % 3], 20).reserve(name_of(f"q-{i}"), 100, plan, life_s=60, now_s=NOW_S)
        for i in range(40)
    ]
    lacking = await asyncio.gather(*asked)
    for client in clients:
        await client.aclose()

    assert lacking.count(None) == 7
    assert {found.limit for found in lacking if found} == {"concurrency"}


async def test_reserving_again_replaces_the_reservation(quotas):
    plan = TenantPlan(tokens_per_month=100, concurrency=1)
    for tokens in (60, 80):
        assert await quotas.reserve(name_of("a"), tokens, plan, life_s=60, now_s=NOW_S) is None

    used = await quotas.read(TENANT, 0.0)
    assert (used.running, used.reserved) == (1, 80)


async def test_a_settled_request_is_charged_once_whoever_settles_it(redis_url, make_settlement):
    plan = TenantPlan(tokens_per_month=1_000)
    record = make_settlement(tenant=TENANT, model="m", request_id="a", finished_at_s=NOW_S)
    other = make_settlement(
        tenant=TENANT,
        model="m",
        request_id="a",
        finished_at_s=NOW_S,
        usage=budget_pb2.Usage(thinking_tokens=900),
    )
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    try:
        await ledger.quotas.reserve(name_of("a"), 200, plan, life_s=60, now_s=NOW_S)
        for settlement in (record, other, record):
            await ledger.settle(settlement)
        used = await ledger.quotas.read(TENANT, 0.0)
    finally:
        await ledger.close()

    assert used == Used(by_month={MONTH: 300}, running=0, reserved=0)


async def test_a_charge_that_redis_did_not_take_is_made_good_by_settling_again(
    redis_url, make_settlement
):
    record = make_settlement(tenant=TENANT, model="m", request_id="a", finished_at_s=NOW_S)
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.set(keys.quota(TENANT), "in the way")
        with pytest.raises(LedgerUnavailable, match="WRONGTYPE"):
            await ledger.settle(record)
        await client.delete(keys.quota(TENANT))
        await ledger.settle(record)
        await ledger.settle(record)
        used = await ledger.quotas.read(TENANT, NOW_S)
    totals = await ledger.totals("m", TENANT)
    await ledger.close()

    assert used.by_month == {MONTH: 300}
    assert totals.thinking_tokens == 300


async def test_all_keys_of_a_tenant_share_one_hash_tag():
    found = [keys.quota("{a}"), keys.reservations("{a}"), keys.charged("{a}", "m", "q")]

    assert {key[key.index("{") : key.index("}") + 1] for key in found} == {"{tenant:%7Ba%7D}"}
