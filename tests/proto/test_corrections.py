"""The correction of coverage as the ledger's script keeps it: stepped, bounded, never poisoned."""

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from ponder import keys
from ponder.corrections import MAX_SHIFT, Corrections
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1.budget_pb2 import (
    POOL_EASY,
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    TIER_MODERATE,
    TIER_SIMPLE,
    Usage,
)

STEP, FADE = LedgerConfig().correction_step, LedgerConfig().correction_fade
NO_NUMBERS = ["nan", "-nan", "inf", "-inf", "1e308", "2.51", "-99", "", "x", "0x7fffffff", "1e999"]


@pytest.fixture
async def raw(redis_url: str):
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def settle(ledger, make_settlement):
    """Settles a request that was decided on the tier, and tells the tenant's corrections."""
    requests = iter(range(1_000))

    async def settle(missed: bool, tier=TIER_SIMPLE, tenant="tenant-1", predicted_miss=0.25):
        budget = 50 if tier == TIER_SIMPLE else 500
        record = make_settlement(
            request_id=f"r{next(requests)}",
            tenant=tenant,
            tier=tier,
            pool=POOL_EASY,
            budget_tokens=budget,
            stop=THINKING_STOP_EXHAUSTED if missed else THINKING_STOP_FINISHED,
            usage=Usage(thinking_tokens=budget),
            predicted_miss=predicted_miss,
        )
        await ledger.settle(record)
        return (await ledger.read_corrections("model-1", "v1", tenant)).shifts

    return settle


async def test_a_miss_raises_it_by_what_was_not_expected_and_a_hit_lowers_it(settle):
    after_miss = await settle(missed=True)
    after_both = await settle(missed=False)

    assert after_miss == pytest.approx((STEP * 0.75, 0.0, 0.0, 0.0))
    assert after_both == pytest.approx((STEP * 0.5, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(("missed", "bound"), [(True, MAX_SHIFT), (False, -MAX_SHIFT)])
async def test_it_stops_at_its_bound(settle, missed, bound):
    for _ in range(20):
        shifts = await settle(missed=missed, predicted_miss=float(not missed))

    assert shifts[0] == bound


async def test_it_belongs_to_one_tenant_and_one_version(settle, ledger):
    await settle(missed=True)

    assert (await ledger.read_corrections("model-1", "v1", "other")).shifts == (0.0,) * 4
    assert (await ledger.read_corrections("model-1", "v2", "tenant-1")).shifts == (0.0,) * 4


async def test_one_that_is_not_used_fades_until_the_tier_is_tried_again(settle):
    raised = await settle(missed=True)
    faded = await settle(missed=False, tier=TIER_MODERATE, predicted_miss=0.0)

    assert faded[0] == pytest.approx(raised[0] * (1 - FADE))
    assert faded[1] == 0.0


async def test_one_below_0_does_not_fade_for_its_tier_is_in_use(settle):
    lowered = await settle(missed=False)
    later = await settle(missed=False, tier=TIER_MODERATE, predicted_miss=0.0)

    assert later[0] == lowered[0] < 0.0


@pytest.mark.parametrize("value", NO_NUMBERS)
async def test_no_poison_survives_the_next_outcome(settle, raw, value):
    await raw.hset(keys.corrections("model-1", "v1", "tenant-1"), mapping={"1": value})

    shifts = await settle(missed=True)

    assert shifts[0] == pytest.approx(STEP * 0.75)


@pytest.mark.parametrize("value", NO_NUMBERS)
async def test_poison_is_read_as_no_correction_and_reported(ledger, raw, value):
    await raw.hset(keys.corrections("model-1", "v1", "t"), mapping={"1": value, "2": "1.5"})

    found = await ledger.read_corrections("model-1", "v1", "t")

    assert found == Corrections((0.0, 1.5, 0.0, 0.0), num_rejected=1)


async def test_they_go_when_nothing_is_settled_for_as_long_as_counts_live(settle, raw, ledger):
    await settle(missed=True)

    life_s = ledger.config.num_windows * ledger.config.window_s
    assert 0 < await raw.ttl(keys.corrections("model-1", "v1", "tenant-1")) <= life_s


async def test_without_a_step_nothing_is_corrected(redis_url, make_settlement):
    ledger = Ledger.from_url(redis_url, LedgerConfig(correction_step=0.0))
    await ledger.settle(make_settlement())

    assert (await ledger.read_corrections("model-1", "v1", "tenant-1")).shifts == (0.0,) * 4
    await ledger.close()


values = st.floats().map(lambda value: repr(value).encode()) | st.binary(max_size=24)


@given(st.dictionaries(st.sampled_from([b"1", b"2", b"3", b"4", b"5", b""]), values))
def test_whatever_redis_holds_a_correction_stays_within_its_bound(found):
    corrections = Corrections.from_hash(found)

    assert len(corrections.shifts) == 4
    assert all(-MAX_SHIFT <= shift <= MAX_SHIFT for shift in corrections.shifts)
