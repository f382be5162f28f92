"""The ledger on a real Redis: exactly once, and the numbers add up."""

import asyncio
import random
import socket

import pytest
import redis.asyncio

from ponder import bins, keys
from ponder.counts import NeedCounts, Totals
from ponder.feedback import Feedback
from ponder.ledger import Duplicate, Ledger, LedgerConfig, LedgerUnavailable, Settled
from ponder.v1 import budget_pb2

NOW_S = 1_800_000_000.0


@pytest.fixture
async def raw(redis_url: str):
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


async def test_a_request_settles_once_and_a_duplicate_learns_with_what(ledger, make_settlement):
    first = make_settlement()
    other = make_settlement(usage=budget_pb2.Usage(thinking_tokens=9))

    assert await ledger.settle(first) == Settled()
    assert await ledger.settle(other) == Duplicate(first.usage)
    assert await ledger.totals("model-1", "tenant-1") == Totals.of(first.usage)
    assert await ledger.settled_usage("model-1", "tenant-1", "request-1") == first.usage


async def test_a_request_id_belongs_to_its_tenant_and_model(ledger, make_settlement):
    records = [make_settlement(), make_settlement(tenant="other"), make_settlement(model="other")]

    assert [await ledger.settle(record) for record in records] == [Settled()] * 3
    assert await ledger.settled_usage("model-1", "tenant-1", "never") is None


async def test_concurrent_duplicates_settle_once_and_totals_are_the_sum(redis_url, make_settlement):
    rng = random.Random(7)
    records = [
        make_settlement(
            request_id=f"r{i}",
            usage=budget_pb2.Usage(
                prompt_tokens=rng.randrange(100),
                thinking_tokens=rng.randrange(500),
                answer_tokens=rng.randrange(30),
                gpu_seconds=rng.random(),
            ),
        )
        for i in range(60)
    ]
    ledgers = [Ledger.from_url(redis_url, LedgerConfig(timeout_s=20)) for _ in range(3)]
    reports = records * 3
    rng.shuffle(reports)

    results = await asyncio.gather(
        *(ledgers[i % 3].settle(record) for i, record in enumerate(reports))
    )

    assert results.count(Settled()) == len(records)
    totals = await ledgers[0].totals("model-1", "tenant-1")
    assert totals.to_hash() == {
        name: sum(Totals.of(record.usage).to_hash()[name] for record in records)
        for name in Totals().to_hash()
    }
    for ledger in ledgers:
        await ledger.close()


async def test_counts_are_the_sum_of_what_each_request_says(ledger, make_settlement):
    outcomes = [
        (300, 500, budget_pb2.THINKING_STOP_FINISHED),
        (40, 50, budget_pb2.THINKING_STOP_CONFIDENT),
        (500, 500, budget_pb2.THINKING_STOP_EXHAUSTED),
        (70, 2000, budget_pb2.THINKING_STOP_CANCELLED),
    ]
    for i, (tokens, budget, stop) in enumerate(outcomes):
        usage = budget_pb2.Usage(thinking_tokens=tokens)
        await ledger.settle(
            make_settlement(request_id=f"r{i}", budget_tokens=budget, stop=stop, usage=usage)
        )

    counts = await ledger.read_counts("model-1", "v1", NOW_S, tenant="tenant-1")

    vectors = [bins.need_vectors(*outcome) for outcome in outcomes]
    assert counts.events[2] == tuple(map(sum, zip(*(n for n, _ in vectors), strict=True)))
    assert counts.at_risk[2] == tuple(map(sum, zip(*(r for _, r in vectors), strict=True)))
    assert sum(map(sum, counts.at_risk)) == sum(counts.at_risk[2])


async def test_counts_are_kept_by_tenant_and_for_all_together(ledger, make_settlement):
    for tenant in ("a", "b"):
        await ledger.settle(make_settlement(tenant=tenant))

    of_a = await ledger.read_counts("model-1", "v1", NOW_S, tenant="a")
    of_all = await ledger.read_counts("model-1", "v1", NOW_S)

    need_bin = bins.bin_of_need(300)
    assert of_a.events[2][need_bin] == 1
    assert of_all.events[2][need_bin] == 2


async def test_a_new_version_of_the_classifier_starts_without_counts(ledger, make_settlement):
    await ledger.settle(make_settlement())
    await ledger.settle(make_settlement(request_id="r2", classifier_version="v2"))

    for version in ("v1", "v2"):
        counts = await ledger.read_counts("model-1", version, NOW_S)
        assert counts.events[2][bins.bin_of_need(300)] == 1
    assert await ledger.read_counts("model-1", "v3", NOW_S) == NeedCounts.from_hashes([])


async def test_counts_fade_window_by_window(ledger, make_settlement):
    await ledger.settle(make_settlement())
    config = ledger.config
    life_s = config.window_s * config.num_windows

    before = await ledger.read_counts("model-1", "v1", NOW_S + life_s - config.window_s)
    after = await ledger.read_counts("model-1", "v1", NOW_S + life_s)

    need_bin = bins.bin_of_need(300)
    assert (before.events[2][need_bin], after.events[2][need_bin]) == (1, 0)


async def test_a_window_that_faded_before_its_record_arrived_leaves_no_key(
    ledger, raw, make_settlement
):
    await ledger.settle(make_settlement(finished_at_s=1_000_000.0))

    assert await raw.keys("*counts*") == []
    assert (await ledger.totals("model-1", "tenant-1")).requests == 1


async def test_a_request_without_prediction_counts_in_no_posterior(ledger, make_settlement):
    await ledger.settle(make_settlement(predicted_bin=None))

    assert await ledger.read_counts("model-1", "v1", NOW_S) == NeedCounts.from_hashes([])


def test_wrong_numbers_in_redis_cannot_leave_the_valid_range():
    found = {b"0:n:0": b"9", b"0:r:0": b"4", b"0:r:1": b"-3", b"1:n:1": b"x", b"77:r:0": b"1"}

    counts = NeedCounts.from_hashes([found, {b"": b"", b"\xff:n:1": b"1"}])

    assert (counts.events[0][0], counts.at_risk[0][0]) == (4, 4)
    assert sum(map(sum, counts.at_risk)) == 4
    assert sum(map(sum, counts.events)) == 4


async def test_all_keys_of_a_script_share_one_slot_and_outside_names_cannot_break_out(
    ledger, raw, make_settlement
):
    await ledger.settle(make_settlement(model="a}b{c", tenant="t:{x}*", request_id="*:}"))

    found = await raw.keys("*")
    slots = {key: await raw.execute_command("CLUSTER", "KEYSLOT", key) for key in found}
    # One script for what the model keeps, one for what the tenant's plan keeps.
    of_tenant = {slot for key, slot in slots.items() if key.startswith(b"ponder:{tenant:")}
    assert (len(of_tenant), len(set(slots.values()) - of_tenant)) == (1, 1)
    assert (await ledger.totals("a}b{c", "t:{x}*")).requests == 1


async def test_a_key_of_the_wrong_type_changes_nothing(ledger, raw, make_settlement):
    await raw.set(keys.traces("model-1"), "in the way")

    with pytest.raises(LedgerUnavailable, match="WRONGTYPE"):
        await ledger.settle(make_settlement())

    assert (await ledger.totals("model-1", "tenant-1")).requests == 0
    await raw.delete(keys.traces("model-1"))
    assert await raw.keys("*") == []
    assert await ledger.settle(make_settlement()) == Settled()


async def test_traces_come_back_in_order_and_page_on(ledger, make_settlement):
    records = [make_settlement(request_id=f"r{i}") for i in range(5)]
    for record in records:
        await ledger.settle(record)

    traces = [trace async for trace in ledger.read_traces("model-1")]
    later = [trace async for trace in ledger.read_traces("model-1", after_id=traces[2][0])]

    assert [record for _, record in traces] == records
    assert [record for _, record in later] == records[3:]


async def test_more_traces_than_a_page_are_all_read(ledger, raw, make_settlement):
    pipeline = raw.pipeline()
    line = make_settlement().to_json()
    for _ in range(1100):
        pipeline.xadd(keys.traces("model-1"), {"settlement": line})
    await pipeline.execute()

    assert len([trace async for trace in ledger.read_traces("model-1")]) == 1100


async def test_the_newest_traces_come_first_over_all_pages(ledger, raw, make_settlement):
    pipeline = raw.pipeline()
    for i in range(1100):
        line = make_settlement(request_id=f"r{i}").to_json()
        pipeline.xadd(keys.traces("model-1"), {"settlement": line})
    pipeline.xadd(keys.traces("model-1"), {"settlement": "unreadable"})
    await pipeline.execute()

    forwards = [trace async for trace in ledger.read_traces("model-1")]
    backwards = [trace async for trace in ledger.read_newest_traces("model-1")]

    assert len(forwards) == 1100
    assert backwards == forwards[::-1]


async def test_the_models_with_traces_are_found_by_their_own_names(ledger, make_settlement):
    names = ["a}b{c", "org/model-1.5", "model-1", "*"]
    for name in names:
        await ledger.settle(make_settlement(model=name))

    assert await ledger.traced_models() == sorted(names)


async def test_traces_are_bounded_in_number_and_in_age(redis_url, raw, make_settlement):
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20, max_traces=100, trace_life_s=60))
    old = {"settlement": make_settlement(request_id="old").to_json()}
    await raw.xadd(keys.traces("model-1"), old, id="1000-0")

    for i in range(400):
        await ledger.settle(make_settlement(request_id=f"r{i}"))

    assert 100 <= await raw.xlen(keys.traces("model-1")) < 300
    names = [record.request_id async for _, record in ledger.read_traces("model-1")]
    assert "old" not in names
    assert 0 < await raw.ttl(keys.traces("model-1")) <= 60
    await ledger.close()


async def test_feedback_comes_back(ledger):
    given = [
        Feedback(tenant="t", request_id="r", correct=True, score=None, given_at_s=1.5),
        Feedback(tenant="t", request_id="q", correct=False, score=0.25, given_at_s=2.0),
    ]
    for feedback in given:
        await ledger.record_feedback(feedback)

    assert [feedback async for _, feedback in ledger.read_feedback()] == given


async def test_feedback_is_kept_as_long_as_a_trace(redis_url, raw):
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20, trace_life_s=60))
    await raw.xadd(keys.FEEDBACK, {"tenant": "t"}, id="1000-0")
    given = Feedback(tenant="t", request_id="r", correct=True, score=None, given_at_s=61.5)

    await ledger.record_feedback(given)

    assert [feedback async for _, feedback in ledger.read_feedback()] == [given]
    assert 0 < await raw.ttl(keys.FEEDBACK) <= 60
    await ledger.close()


async def test_a_redis_that_is_gone_is_one_error(tmp_path, make_settlement):
    ledger = Ledger.from_url(f"unix://{tmp_path}/nobody.sock")

    with pytest.raises(LedgerUnavailable):
        await ledger.settle(make_settlement())
    with pytest.raises(LedgerUnavailable):
        await ledger.read_counts("model-1", "v1", NOW_S)
    await ledger.close()


async def test_a_redis_that_hangs_is_left_after_the_timeout(tmp_path, make_settlement):
    path = str(tmp_path / "mute.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen()
        ledger = Ledger.from_url(f"unix://{path}", LedgerConfig(timeout_s=0.05))

        with pytest.raises(LedgerUnavailable):
            await ledger.settle(make_settlement())
        await ledger.close()


@pytest.mark.parametrize("num_steps", range(12))
async def test_a_cancelled_call_ends_whatever_it_waits_for(ledger, num_steps):
    """Up to Python 3.11 asyncio.wait_for forgets a cancellation that meets its result."""

    async def call_forever() -> None:
        while True:
            await ledger.ping()

    await ledger.ping()
    calling = asyncio.create_task(call_forever())
    for _ in range(num_steps):
        await asyncio.sleep(0)

    calling.cancel()

    await asyncio.wait([calling], timeout=5)
    assert calling.cancelled()
