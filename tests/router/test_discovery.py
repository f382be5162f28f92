"""A name that stands for several workers: those that leave drain, new ones join."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest

from ponder import tasks
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1 import worker_pb2
from ponder.v1.budget_pb2 import POOL_EASY, Sampling
from router import discovery
from router.discovery import DnsName
from router.pools import Pools, PoolsConfig
from router.worker_link import WorkerLink
from tests.router.conftest import eventually
from tests.router.small_worker import MODEL, SmallWorker, serving

NAME = DnsName("worker-easy", 9000)


@dataclass
class FakeDns:
    """Answers what the test sets; None: it fails."""

    answer: Collection[str] | None
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Collection[str]:
        self.asked.append((host, port))
        if self.answer is None:
            raise OSError("no resolver answers")
        return self.answer


@pytest.fixture
async def workers(redis_url) -> AsyncIterator[tuple[SmallWorker, str, SmallWorker, str]]:
    """Two, each with its address."""
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    first, second = SmallWorker("first", ledger), SmallWorker("second", ledger)
    async with serving(first) as (_, port), serving(second) as (_, other_port):
        yield first, f"127.0.0.1:{port}", second, f"127.0.0.1:{other_port}"
    await ledger.close()


@asynccontextmanager
async def following(dns: FakeDns) -> AsyncIterator[Pools]:
    config = PoolsConfig(
        targets={POOL_EASY: [f"dns:///{NAME}"]},
        easy_cap_of=lambda _: 500,
        resolve_interval_s=0.01,
    )
    pools = Pools(config, Random(0), dns.resolve)
    running = asyncio.create_task(pools.run())
    try:
        yield pools
    finally:
        await tasks.stop([running])
        await pools.close()


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("dns:///worker-easy:9000", NAME),
        ("worker-easy:9000", None),
        ("10.0.0.1:9000", None),
        ("unix:/run/worker", None),
    ],
)
def test_only_what_says_so_is_a_name_for_several(target, name):
    assert discovery.parse_name(target) == name


async def test_the_systems_resolver_is_asked():
    assert "127.0.0.1:9000" in await discovery.resolve("localhost", 9000)


async def test_all_workers_of_a_name_take_requests_and_later_ones_join(workers):
    _, address, _, later_address = workers
    dns = FakeDns([address])
    async with following(dns) as pools:
        await eventually(lambda: _serving(pools, {address}))
        dns.answer = [address, later_address]
        await eventually(lambda: _serving(pools, {address, later_address}))

    assert set(dns.asked) == {("worker-easy", 9000)}


async def test_a_worker_that_leaves_ends_what_it_runs_and_gets_nothing_new(workers):
    worker, address, _, other_address = workers
    worker.script.hold_at = 16
    dns = FakeDns([address])
    async with following(dns) as pools:
        link = await eventually(lambda: _found(pools))
        with link.expecting(40.0):
            events = link.think(think_request(), 20.0, lambda: None)
            await anext(events)
            dns.answer = [other_address]
            await eventually(lambda: _serving(pools, {other_address}))
            worker.release.set()
            rest = [event async for event in events]

        assert rest[-1].done.usage.thinking_tokens == 40
        async with asyncio.timeout(20):
            await link.wait_until_unused()


async def test_a_worker_that_leaves_and_returns_is_used_again(workers):
    _, address, _, other_address = workers
    dns = FakeDns([address])
    async with following(dns) as pools:
        first = await eventually(lambda: _found(pools))
        with first.expecting(40.0):
            dns.answer = [other_address]
            await eventually(lambda: _serving(pools, {other_address}))
            dns.answer = [address]
            await eventually(lambda: _serving(pools, {address}))


@pytest.mark.parametrize("answer", [None, ()])
async def test_an_outage_of_dns_takes_nobody(workers, answer):
    _, address, _, _ = workers
    dns = FakeDns([address])
    async with following(dns) as pools:
        await eventually(lambda: _found(pools))
        dns.answer = answer
        num_asked = len(dns.asked)
        await eventually(lambda: _asked(dns, num_asked + 3))

        assert await _found(pools)


async def test_a_router_finds_workers_by_name(start, tmp_path):
    async with start() as stack:
        port = stack.router.pools.find(POOL_EASY, MODEL, 1)[1].address.split(":")[1]
        name, spool = f"dns:///localhost:{port}", str(tmp_path / "named")
        async with start(easy_workers=(name,), spool_dir=spool) as named:
            reply = await named.reason()

    assert reply.decision.pool == POOL_EASY
    assert len(stack.easy.requests) == 1


def think_request() -> worker_pb2.ThinkRequest:
    return worker_pb2.ThinkRequest(
        request_id="q-1",
        model=MODEL,
        prompt="What is 2 + 2?",
        thinking_budget=50,
        answer_on_exhaustion=True,
        sampling=Sampling(seed=1),
        settlement=worker_pb2.Settlement(tenant="local"),
    )


async def _serving(pools: Pools, addresses: set[str]) -> bool:
    return {link.address for link in pools.links() if link.takes_requests} == addresses


async def _found(pools: Pools) -> WorkerLink | None:
    found = pools.find(POOL_EASY, MODEL, 1)
    return found and found[1]


async def _asked(dns: FakeDns, times: int) -> bool:
    return len(dns.asked) >= times
