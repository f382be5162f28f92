"""Which worker takes a segment."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

import pytest

from ponder.v1 import worker_pb2
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from router.ejection import EJECTION_S, SLOW_FOR_S
from router.pools import Pools, PoolsConfig
from router.worker_link import WorkerLink, WorkerState

EASY, THINKING = ("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:3",)


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pools(clock: Clock) -> AsyncIterator[Pools]:
    """Nobody is alive yet, and nobody listens."""
    targets = {POOL_EASY: EASY, POOL_THINKING: THINKING}
    config = PoolsConfig(targets=targets, easy_cap_of=lambda _: 500)
    made = Pools(config, Random(0), clock=clock)
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


async def test_a_slow_worker_is_passed_over_and_comes_back(pools, clock):
    def reports() -> WorkerLink:
        report(pools, EASY[1], time_per_output_token_ms=10.0, running=1)
        slow = report(pools, EASY[0], time_per_output_token_ms=100.0, running=1)
        pools.judge()
        return slow

    slow = reports()
    clock.now_s = SLOW_FOR_S
    reports()

    assert [found.address for _, found in _found(pools, 20)] == [EASY[1]] * 20
    assert (POOL_EASY, WorkerState.EJECTED, 1) in list(pools.census())
    assert pools.find(POOL_EASY, "m", 50, frozenset({_link(pools, EASY[1])})) == (POOL_EASY, slow)
    clock.now_s += EJECTION_S
    reports()
    assert {found.address for _, found in _found(pools, 20)} == set(EASY)


async def test_a_pools_load_is_what_its_workers_have_to_do(pools):
    busy = report(
        pools, EASY[0], max_running=2, running=2, waiting=1, time_per_output_token_ms=20.0
    )
    report(pools, EASY[1], max_running=4, time_per_output_token_ms=20.0)
    with busy.expecting(300.0):
        load = pools.load(POOL_EASY, "m")

    # Of the three requests there one was this router's own when it reported: none, then.
    assert (load.slots, load.in_flight, load.tokens_per_s) == (6, 4, 6 * 50.0)
    assert load.backlog_tokens == 4 * 300.0


async def test_a_pool_without_workers_has_the_load_of_who_stands_in(pools):
    report(pools, THINKING[0], max_running=1, running=1, time_per_output_token_ms=20.0)

    assert pools.load(POOL_EASY, "m") == pools.load(POOL_THINKING, "m")


async def test_what_the_other_pool_would_lend_counts_as_room(pools):
    report(pools, EASY[0], max_running=1, running=1, time_per_output_token_ms=20.0)
    report(pools, THINKING[0], max_running=4, time_per_output_token_ms=20.0)

    assert pools.load(POOL_EASY, "m").slots == 1 + 2


async def test_requests_of_this_router_are_not_counted_twice(pools):
    link = report(pools, EASY[0])
    with link.expecting(100.0) as expect:
        report(pools, EASY[0], running=3)
        assert (link.in_flight, link.burden.tokens) == (3, 300.0)
        expect(40.0, 60.0)
        assert link.burden.tokens == 120.0
    assert link.in_flight == 2


def _found(pools, times: int):
    """Both have one request each, so that the draw decides between those that are fit."""
    return [pools.find(POOL_EASY, "m", 50) for _ in range(times)]


def _link(pools: Pools, address: str) -> WorkerLink:
    return next(link for link in pools.links() if link.address == address)
