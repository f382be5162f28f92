"""Outcomes of first budgets: which requests tell something, and what Redis may hold."""

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.typing import EncodableT, FieldT

from ponder import keys
from ponder.bins import bin_of_need
from ponder.outcomes import TIERS, Outcome, Outcomes, TierOutcomes, first_budget_missed
from ponder.v1.budget_pb2 import (
    THINKING_STOP_CANCELLED,
    THINKING_STOP_CONFIDENT,
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
    Usage,
)

NOW_S = 1_800_000_000.0
EXHAUSTED, CANCELLED = THINKING_STOP_EXHAUSTED, THINKING_STOP_CANCELLED
keys_and_values = st.dictionaries(st.binary(max_size=5), st.binary(max_size=24)) | st.dictionaries(
    st.sampled_from([f"{tier}:{kind}".encode() for tier in range(6) for kind in "dme"]),
    st.integers(-5, 1 << 70).map(lambda number: str(number).encode()) | st.binary(max_size=6),
)


def ended(make_settlement, stop, tokens, escalations=0, **changes):
    usage = Usage(thinking_tokens=tokens, escalations=escalations)
    return make_settlement(stop=stop, usage=usage, **changes)


@pytest.mark.parametrize(
    ("stop", "tokens", "escalations", "missed"),
    [
        (THINKING_STOP_FINISHED, 300, 0, False),
        (THINKING_STOP_CONFIDENT, 300, 0, False),
        (THINKING_STOP_FINISHED, 300, 1, True),
        (EXHAUSTED, 500, 0, True),
        (EXHAUSTED, 470, 0, True),  # the last step of the thinking was whole before the budget
        (EXHAUSTED, 300, 0, None),  # a deadline ended it
        (CANCELLED, 300, 0, None),
        (CANCELLED, 600, 1, True),
    ],
)
def test_a_first_budget_missed_sufficed_or_nobody_knows(
    make_settlement, stop, tokens, escalations, missed
):
    assert first_budget_missed(ended(make_settlement, stop, tokens, escalations)) is missed


def test_the_outcome_is_of_the_tier_that_was_decided_on_first(make_settlement):
    record = ended(make_settlement, THINKING_STOP_FINISHED, 300, escalations=1)

    assert record.tier == TIER_MODERATE
    assert Outcome.of(record) == Outcome(tier=TIER_SIMPLE, missed=True, expected=0.0625)


@pytest.mark.parametrize(
    "changes", [{"predicted_miss": None}, {"tier": TIER_SIMPLE}], ids=["not-predicted", "no-tier"]
)
def test_what_the_prediction_did_not_decide_tells_nothing(make_settlement, changes):
    assert Outcome.of(make_settlement(**changes)) is None  # its escalations are 1


async def test_outcomes_add_up_per_tier_version_and_tenant(ledger, make_settlement):
    for i, (tenant, stop) in enumerate(
        [("a", THINKING_STOP_FINISHED), ("a", EXHAUSTED), ("b", EXHAUSTED), ("a", CANCELLED)]
    ):
        tokens = 400 if stop == CANCELLED else 500
        record = ended(make_settlement, stop, tokens, tenant=tenant, request_id=f"r{i}")
        await ledger.settle(record)
        await ledger.settle(record)

    of_a = await ledger.read_outcomes("model-1", "v1", NOW_S, tenant="a")
    of_all = await ledger.read_outcomes("model-1", "v1", NOW_S)

    assert of_a.tiers[TIER_MODERATE] == TierOutcomes(decided=2, missed=1, expected=0.125)
    assert of_all.tiers[TIER_MODERATE] == TierOutcomes(decided=3, missed=2, expected=0.1875)
    assert of_all.total == of_all.tiers[TIER_MODERATE]
    assert (of_a.total.miss_rate, of_a.total.residual) == (0.5, 0.4375)
    assert (await ledger.read_outcomes("model-1", "v2", NOW_S)).total == TierOutcomes()


async def test_outcomes_fade_like_the_counts(ledger, make_settlement):
    await ledger.settle(make_settlement())
    life_s = ledger.config.window_s * ledger.config.num_windows

    faded = await ledger.read_outcomes("model-1", "v1", NOW_S + life_s)

    assert faded.total == TierOutcomes()


async def test_fields_that_hold_no_number_start_anew(redis_url, ledger, make_settlement):
    window = ledger.config.window(NOW_S)
    poisoned: dict[str, dict[FieldT, EncodableT]] = {
        keys.outcomes("model-1", "v1", "tenant-1", window): {"1:d": "many", "1:m": "", "1:e": "x"},
        keys.counts("model-1", "v1", "tenant-1", window): {
            "2:r:0": "1e9",
            f"2:n:{bin_of_need(300)}": "nan",
        },
    }
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        for key, fields in poisoned.items():
            await client.hset(key, mapping=fields)

    await ledger.settle(make_settlement())

    found = await ledger.read_outcomes("model-1", "v1", NOW_S, tenant="tenant-1")
    counts = await ledger.read_counts("model-1", "v1", NOW_S, tenant="tenant-1")
    assert found.tiers[TIER_SIMPLE] == TierOutcomes(decided=1, missed=1, expected=0.0625)
    assert (counts.events[2][bin_of_need(300)], counts.at_risk[2][0]) == (1, 1)


@given(st.lists(keys_and_values, max_size=3))
def test_whatever_redis_holds_outcomes_stay_possible(hashes):
    outcomes = Outcomes.from_hashes(hashes)

    assert set(outcomes.tiers) == set(TIERS)
    for tier in outcomes.tiers.values():
        assert 0 <= tier.missed <= tier.decided <= 3 << 32
        assert 0.0 <= tier.expected <= tier.decided
        assert -1.0 <= tier.residual <= 1.0


def test_a_tier_with_impossible_numbers_counts_as_nothing_and_others_still_do():
    found = {
        b"1:d": b"3",
        b"1:m": b"4",
        b"1:e": b"0",
        b"4:d": b"2",
        b"4:m": b"1",
        b"4:e": b"500000",
    }

    outcomes = Outcomes.from_hashes([found])

    assert outcomes.tiers[TIER_SIMPLE] == TierOutcomes()
    assert outcomes.tiers[TIER_RESEARCH] == TierOutcomes(decided=2, missed=1, expected=0.5)
