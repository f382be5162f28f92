"""A request that was on two workers which crashed is not given to a third."""

import asyncio
from dataclasses import dataclass

import grpc
import pytest

from router.errors import Quarantined
from router.quarantine import QUARANTINE_S, Quarantine
from tests.router.conftest import request

POISON = "Poison"


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Asked:
    """As much of a query as tells one from another."""

    text: str = POISON
    model: str = "small"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quarantine(clock) -> Quarantine:
    return Quarantine(clock)


def test_one_crash_may_be_an_accident(quarantine):
    quarantine.note_crashes(Asked(), 1)

    quarantine.check(Asked())


def test_two_crashes_are_enough_whoever_asks(quarantine):
    with pytest.raises(Quarantined, match="2 workers crashed"):
        quarantine.note_crashes(Asked(), 2)

    with pytest.raises(Quarantined):
        quarantine.check(Asked())
    quarantine.check(Asked(text="Another"))
    quarantine.check(Asked(model="another"))


def test_one_worker_that_dies_with_many_equal_requests_is_one_crash_of_each(quarantine):
    for _ in range(5):
        quarantine.note_crashes(Asked(), 1)

    quarantine.check(Asked())


def test_an_answer_clears_it(quarantine):
    with pytest.raises(Quarantined):
        quarantine.note_crashes(Asked(), 2)
    quarantine.note_answer(Asked())

    quarantine.check(Asked())


def test_it_is_let_go_after_a_while(quarantine, clock):
    with pytest.raises(Quarantined):
        quarantine.note_crashes(Asked(), 2)
    clock.now_s = QUARANTINE_S

    quarantine.check(Asked())


async def test_no_worker_is_touched_by_one_that_crashed_two(start):
    async with start() as stack:
        for worker, died_at in ((stack.easy, 24), (stack.thinking, 40)):
            worker.script.hold_at, worker.script.die_at = 16, died_at
        call = asyncio.ensure_future(stack.refusal(prompt=POISON, request_id="q-1"))
        for worker in (stack.easy, stack.thinking):
            await worker.holding.wait()
            worker.release.set()
        code, message = await call
        (trace,) = await stack.traces_when(1)
        stack.easy.script.die_at = stack.thinking.script.die_at = None
        links = list(stack.router.pools.links())
        await stack.plan_when(lambda _: all(link.takes_requests for link in links))
        again, _ = await stack.refusal(prompt=POISON, request_id="q-2")
        other = await stack.reason(prompt="Another")

        assert stack.counted("ponder.router.quarantined") == 2
    assert code == again == grpc.StatusCode.FAILED_PRECONDITION
    assert "crashed while they ran this request" in message
    assert trace.request_id == "q-1"
    assert trace.usage.thinking_tokens >= 16
    assert other.answer
    seen = [
        asked.request_id for worker in (stack.easy, stack.thinking) for asked in worker.requests
    ]
    assert seen.count("q-2") == 0


async def test_a_worker_that_drains_is_no_crash(start):
    async with start() as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.hold_at = 16
        links = list(stack.router.pools.links())
        call = stack.stub.Reason(request(prompt=POISON))
        await stack.easy.holding.wait()
        stack.easy.script.is_draining = True
        await stack.plan_when(lambda _: not all(link.takes_requests for link in links))
        await stack.easy_server.stop(None)
        await stack.thinking.holding.wait()
        await stack.thinking_server.stop(None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call

        assert stack.counted("ponder.router.failovers") == 2
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
