"""Settling never fails a request, whatever Redis does."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ponder import tasks
from ponder.counts import Totals
from ponder.embedded_redis import EmbeddedRedis
from ponder.ledger import Duplicate, Ledger, LedgerConfig, LedgerUnavailable, Settled
from ponder.settlement import Settlement
from ponder.settler import Lost, Settler, Spooled
from ponder.spool import Spool
from ponder.v1.budget_pb2 import Usage

NOW_S = 1_800_000_000.0


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool") as spool:
        yield spool


@pytest.fixture
async def nowhere(tmp_path):
    ledger = Ledger.from_url(f"unix://{tmp_path}/nobody.sock")
    yield ledger
    await ledger.close()


def make_settler(ledger: Ledger, spool: Spool) -> Settler:
    return Settler(ledger, spool, retry_s=0.01, clock=lambda: NOW_S)


async def test_with_redis_up_nothing_is_spooled(ledger, spool, make_settlement):
    settler = make_settler(ledger, spool)

    assert await settler.settle(make_settlement()) == Settled()
    assert await settler.settle(make_settlement()) == Duplicate(make_settlement().usage)
    assert spool.is_empty


async def test_with_redis_gone_records_are_spooled_and_settled_later_once(
    nowhere, ledger, spool, make_settlement
):
    records = [make_settlement(request_id=f"r{i}") for i in range(5)]
    settler = make_settler(nowhere, spool)
    assert [await settler.settle(record) for record in records * 2] == [Spooled()] * 10
    with pytest.raises(LedgerUnavailable):
        await settler.replay()

    assert await make_settler(ledger, spool).replay() == 10

    assert spool.is_empty
    totals = await ledger.totals("model-1", "tenant-1")
    assert (totals.requests, totals.thinking_tokens) == (5, 1500)


async def test_a_lost_reply_does_not_settle_twice(ledger, spool, make_settlement):
    await ledger.settle(make_settlement())
    spool.append(make_settlement())

    await make_settler(ledger, spool).replay()

    assert await ledger.totals("model-1", "tenant-1") == Totals.of(make_settlement().usage)


async def test_a_caller_that_is_cancelled_settles_all_the_same(ledger, spool, make_settlement):
    settler = make_settler(ledger, spool)
    caller = asyncio.create_task(settler.settle(make_settlement()))
    await asyncio.sleep(0)  # lets the caller begin

    caller.cancel()
    await asyncio.wait([caller])
    await settler.close()

    assert caller.cancelled()
    assert (await ledger.totals("model-1", "tenant-1")).requests == 1


async def test_run_replays_when_redis_comes_back(tmp_path, spool, make_settlement):
    with EmbeddedRedis(tmp_path / "redis") as server:
        ledger = Ledger.from_url(server.url)
        patient = Ledger.from_url(server.url, LedgerConfig(timeout_s=10))
        settler = make_settler(ledger, spool)
        os.kill(server.pid, signal.SIGSTOP)
        assert await settler.settle(make_settlement()) == Spooled()
        running = asyncio.create_task(settler.run())
        os.kill(server.pid, signal.SIGCONT)

        async with asyncio.timeout(10):
            while (await patient.totals("model-1", "tenant-1")).requests == 0:  # noqa: ASYNC110
                await asyncio.sleep(0)  # what is awaited happens in another process

        await tasks.stop([running])
        await ledger.close()
        await patient.close()


async def test_a_redis_that_was_killed_knows_afterwards_what_it_settled(
    tmp_path, spool, make_settlement
):
    records = [make_settlement(request_id=f"r{i}") for i in range(20)]
    with EmbeddedRedis(tmp_path / "redis") as server:
        ledger = Ledger.from_url(server.url)
        for record in records[:10]:
            await ledger.settle(record)
        os.kill(server.pid, signal.SIGKILL)
        await ledger.close()
    for record in records:
        spool.append(record)

    with EmbeddedRedis(tmp_path / "redis") as server:
        ledger = Ledger.from_url(server.url, LedgerConfig(timeout_s=10))
        await make_settler(ledger, spool).replay()

        assert (await ledger.totals("model-1", "tenant-1")).thinking_tokens == 20 * 300
        await ledger.close()


async def test_a_full_spool_is_replayed_in_few_round_trips(ledger, spool, make_settlement):
    """One by one it would fill faster than it empties, and never be left again under load."""
    for number in range(500):
        spool.append(make_settlement(request_id=f"r{number % 400}"))
    counting = CountingLedger(ledger)

    assert await Settler(counting, spool, clock=lambda: NOW_S).replay() == 500

    assert counting.num_calls < 20
    assert (await ledger.totals("model-1", "tenant-1")).requests == 400


async def test_a_restart_says_nothing_again_to_the_same_redis(ledger, spool, make_settlement):
    """A worker that is killed every few seconds would never get to its spool."""
    settler = make_settler(ledger, spool)
    for number in range(100):
        await settler.settle(make_settlement(request_id=f"r{number}"))
    await settler.replay_forgotten()

    counting = CountingLedger(ledger)
    await Settler(counting, spool, clock=lambda: NOW_S).replay_forgotten()
    assert counting.num_calls == 0

    await ledger.client.flushall()
    await Settler(counting, spool, clock=lambda: NOW_S).replay_forgotten()
    assert (await ledger.totals("model-1", "tenant-1")).requests == 100


async def test_the_spool_goes_before_a_long_journal(ledger, spool, make_settlement):
    settler = make_settler(ledger, spool)
    for number in range(1_000):
        await settler.settle(make_settlement(request_id=f"told-{number}"))
    await ledger.client.flushall()
    spool.append(make_settlement(request_id="spooled"))

    counting = CountingLedger(ledger)
    running = asyncio.create_task(Settler(counting, spool, clock=lambda: NOW_S).run())
    async with asyncio.timeout(20):
        while not await ledger.settled_usage("model-1", "tenant-1", "spooled"):  # noqa: ASYNC110
            await asyncio.sleep(0)  # what is awaited happens in another task
        assert counting.num_calls < 10
        while (await ledger.totals("model-1", "tenant-1")).requests < 1_001:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    running.cancel()
    await asyncio.wait([running])


class CountingLedger(Ledger):
    num_calls = 0

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger.client, ledger.config)

    async def settle_all(self, records: Sequence[Settlement]) -> list[Settled | Duplicate]:
        self.num_calls += 1
        return await super().settle_all(records)


async def test_a_record_too_old_to_recognise_is_set_aside(ledger, spool, make_settlement):
    spool.append(make_settlement(finished_at_s=NOW_S - ledger.config.settled_life_s - 1))

    await make_settler(ledger, spool).replay()

    assert spool.is_empty
    assert (await ledger.totals("model-1", "tenant-1")).requests == 0


async def test_without_redis_and_disk_the_request_still_ends(nowhere, tmp_path, make_settlement):
    with Spool(tmp_path / "spool", max_bytes=10) as spool:
        assert await make_settler(nowhere, spool).settle(make_settlement()) == Lost()


async def test_what_a_restored_snapshot_has_forgotten_is_settled_again(
    tmp_path, spool, make_settlement
):
    records = [make_settlement(request_id=f"r{i}") for i in range(40)]
    live, snapshot = tmp_path / "redis", tmp_path / "snapshot"
    async with redis_in(live) as ledger:
        settler = make_settler(ledger, spool)
        await settler.replay_forgotten()
        for record in records[:20]:
            await settler.settle(record)
    shutil.copytree(live, snapshot)
    async with redis_in(live) as ledger:
        settler = make_settler(ledger, spool)
        for record in records[20:]:
            await settler.settle(record)

    async with redis_in(snapshot) as ledger:
        assert (await ledger.totals("model-1", "tenant-1")).requests == 20
        settler = make_settler(ledger, spool)
        for _ in range(2):
            await settler.replay_forgotten()

        assert (await ledger.totals("model-1", "tenant-1")).thinking_tokens == 40 * 300
        assert len([trace async for trace in ledger.read_traces("model-1")]) == 40


async def test_an_emptied_redis_is_noticed_and_filled_again(ledger, spool, make_settlement):
    settler = make_settler(ledger, spool)
    running = asyncio.create_task(settler.run())
    for number in range(20):
        await settler.settle(make_settlement(request_id=f"r{number}"))
    await settler.replay_forgotten()

    await ledger.client.flushall()
    async with asyncio.timeout(20):
        while (await ledger.totals("model-1", "tenant-1")).requests < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # what is awaited happens in another task

    running.cancel()
    await asyncio.wait([running])
    assert (await ledger.totals("model-1", "tenant-1")).requests == 20


async def test_a_caller_is_told_again_what_counted_before(ledger, spool, make_settlement):
    """The one that settled first is gone for good; who told the caller of it says it again."""
    first = make_settlement()
    await ledger.settle(first)
    settler = make_settler(ledger, spool)
    later = make_settlement(usage=Usage(thinking_tokens=7), worker="worker-2")
    assert await settler.settle(later) == Duplicate(first.usage)

    await ledger.client.flushall()
    await settler.replay_forgotten()

    assert await ledger.settled_usage("model-1", "tenant-1", "request-1") == first.usage


async def test_replaying_the_journal_goes_on_where_redis_broke_off(ledger, spool, make_settlement):
    settler = make_settler(ledger, spool)
    for number in range(200):
        await settler.settle(make_settlement(request_id=f"r{number}"))
    await ledger.client.flushall()

    broken = FailingLedger(ledger, fails_at=2)
    again = Settler(broken, spool, clock=lambda: NOW_S)
    with pytest.raises(LedgerUnavailable):
        await again.replay_forgotten()
    await again.replay_forgotten()

    assert (await ledger.totals("model-1", "tenant-1")).requests == 200


class FailingLedger(Ledger):
    """Its n-th replay breaks off half-way."""

    def __init__(self, ledger: Ledger, fails_at: int) -> None:
        super().__init__(ledger.client, ledger.config)
        self._num_left = fails_at

    async def settle_all(self, records: Sequence[Settlement]) -> list[Settled | Duplicate]:
        self._num_left -= 1
        if self._num_left == 0:
            await super().settle_all(records[: len(records) // 2])
            raise LedgerUnavailable("gone")
        return await super().settle_all(records)


@asynccontextmanager
async def redis_in(directory: Path) -> AsyncIterator[Ledger]:
    with EmbeddedRedis(directory) as server:
        ledger = Ledger.from_url(server.url, LedgerConfig(timeout_s=20))
        yield ledger
        await ledger.close()
