"""Settlements while Redis is away: on disk at once, in the ledger later, once."""

import os
import signal
from pathlib import Path

import pytest

from ponder.counts import Totals
from ponder.embedded_redis import EmbeddedRedis
from ponder.ledger import Ledger
from tests.workers.conftest import MODEL, TENANT, Reply
from workers.config import WorkerConfig


@pytest.fixture
def redis(tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def config(worker_env, redis) -> WorkerConfig:
    return WorkerConfig.from_env(worker_env | {"WORKER_REDIS_URL": redis.url})


async def test_a_hung_redis_delays_nothing_and_gets_each_record_once(
    running, config, redis, make_request
):
    async with running(config) as worker:
        os.kill(redis.pid, signal.SIGSTOP)
        replies = [await worker.think(make_request(request_id=f"r{i}")) for i in range(3)]
        num_spooled = len(_spool(config).read_text().splitlines())
        os.kill(redis.pid, signal.SIGCONT)

    assert all(reply.done.settled for reply in replies)
    assert num_spooled == 3
    assert _spool(config).read_text() == ""
    await _assert_settled(redis.url, replies)


async def test_a_record_outlives_the_worker_that_spooled_it(
    running, config, tmp_path, redis, worker_env, make_request
):
    async with running(config) as worker:
        redis.stop()
        reply = await worker.think(make_request())
    assert reply.done.settled

    with EmbeddedRedis(tmp_path / "redis") as restarted:
        again = WorkerConfig.from_env(worker_env | {"WORKER_REDIS_URL": restarted.url})
        async with running(again):
            pass
        await _assert_settled(restarted.url, [reply])
    assert _spool(config).read_text() == ""


def _spool(config: WorkerConfig) -> Path:
    return config.spool_dir / "settlements.jsonl"


async def _assert_settled(url: str, replies: list[Reply]) -> None:
    ledger = Ledger.from_url(url)
    traces = [trace async for _, trace in ledger.read_traces(MODEL)]
    totals = await ledger.totals(MODEL, TENANT)
    await ledger.close()
    assert [trace.usage for trace in traces] == [reply.done.usage for reply in replies]
    assert totals.requests == len(replies)
    spent = sum(Totals.of(reply.done.usage).gpu_microseconds for reply in replies)
    assert totals.gpu_microseconds == spent
