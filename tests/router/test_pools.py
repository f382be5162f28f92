"""Which worker takes a segment."""

from collections.abc import AsyncIterator
from random import Random

import pytest

from ponder.v1 import worker_pb2
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from router.pools import Pools, PoolsConfig
from router.worker_link import WorkerLink

EASY, THINKING = ("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:3",)


@pytest.fixture
async def pools() -> AsyncIterator[Pools]:
    """Nobody is alive yet, and nobody listens."""
    targets = {POOL_EASY: EASY, POOL_THINKING: THINKING}
    made = Pools(PoolsConfig(targets=targets, easy_cap_of=lambda _: 500), Random(0))
    yield made
    await made.close()


def report(pools: Pools, address: str, **load) -> WorkerLink:
    """As if the worker had just sent its load."""
    link = next(link for link in pools.links() if link.address == address)
    link.load = worker_pb2.Load(**{"models": ["m"], **load})
    return link


async def test_the_fewest_outstanding_predicted_tokens_win(pools):
    busy, idle = (report(pools, address) for address in EASY)

    with busy.expecting(100.0), idle.expecting(10.0):
        assert pools.find(POOL_EASY, "m", 50) == (POOL_EASY, idle)
        with idle.expecting(100.0):
            assert pools.find(POOL_EASY, "m", 50) == (POOL_EASY, busy)


async def test_work_of_other_routers_breaks_a_tie(pools):
    report(pools, EASY[0], running=3, waiting=1)
    idle = report(pools, EASY[1])

    assert pools.find(POOL_EASY, "m", 50) == (POOL_EASY, idle)


async def test_only_workers_that_serve_the_model_are_asked(pools):
    report(pools, EASY[0], models=["other"])

    assert pools.find(POOL_EASY, "m", 50) is None


async def test_excluded_workers_are_passed_over(pools):
    gone = report(pools, EASY[0])
    other = report(pools, THINKING[0])

    found = pools.find(POOL_EASY, "m", 50, frozenset({gone}))

    assert found == (POOL_THINKING, other)


@pytest.mark.parametrize(("budget", "is_taken"), [(500, True), (501, False)])
async def test_easy_workers_stand_in_under_their_cap(pools, budget, is_taken):
    report(pools, EASY[0])

    assert bool(pools.find(POOL_THINKING, "m", budget)) == is_taken


async def test_the_speed_is_that_of_the_median_worker(pools):
    report(pools, EASY[0], time_per_output_token_ms=10.0)
    report(pools, EASY[1], time_per_output_token_ms=30.0)
    report(pools, THINKING[0])

    assert pools.tokens_per_s(POOL_EASY, "m") == 50.0
    assert pools.tokens_per_s(POOL_THINKING, "m") == float("inf")
