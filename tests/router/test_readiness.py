"""When a starting router says that it serves."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ponder import tasks
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from router.pools import Pools, PoolsConfig
from tests.router.small_worker import MODEL, SmallWorker, serving

TIMEOUT_S = 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def following(easy_port: int, thinking_port: int) -> AsyncIterator[Pools]:
    addresses = {
        POOL_EASY: [f"127.0.0.1:{easy_port}"],
        POOL_THINKING: [f"127.0.0.1:{thinking_port}"],
    }
    pools = Pools(PoolsConfig(targets=addresses, easy_cap_of=lambda _: 500), random.Random(1))
    task = asyncio.create_task(pools.run())
    try:
        yield pools
    finally:
        await tasks.stop([task])
        await pools.close()


async def test_a_router_is_ready_when_each_pool_has_a_worker(redis_url):
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    easy, thinking = SmallWorker("easy", ledger), SmallWorker("thinking", ledger)
    thinking_port = free_port()
    async with (
        asyncio.timeout(TIMEOUT_S),
        serving(easy) as (_, easy_port),
        following(easy_port, thinking_port) as pools,
    ):
        await pools.wait_until_ready(patience_s=0)
        ready = asyncio.create_task(pools.wait_until_ready(patience_s=TIMEOUT_S))
        assert pools.find(POOL_THINKING, MODEL, budget_tokens=2000) is None
        await asyncio.sleep(0)  # it runs up to where it has to wait
        assert not ready.done()

        async with serving(thinking, thinking_port):
            await ready
            assert pools.find(POOL_THINKING, MODEL, budget_tokens=2000) is not None
    await ledger.close()
