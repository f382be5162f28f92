"""Who repeats a request joins it, but for one that has failed."""

from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.decisions import Event
from router.errors import NoWorkerAvailable
from router.in_flight import InFlight
from router.queries import Query

QUERY = cast(
    Query,
    SimpleNamespace(tenant=SimpleNamespace(name="t"), request_id="a", fingerprint=b"same"),
)


DECIDED, ANSWER = cast(Event, object()), cast(Event, object())


async def failing() -> AsyncGenerator[Event, None]:
    yield DECIDED
    raise NoWorkerAvailable("gone")


async def answering() -> AsyncGenerator[Event, None]:
    yield ANSWER


async def read(events: AsyncGenerator[Event, None]) -> list[Any]:
    return [each async for each in events]


async def test_a_retry_does_not_join_a_failure_that_somebody_slow_still_reads():
    in_flight = InFlight()
    slow = in_flight.follow(QUERY, failing)
    assert await anext(slow) is DECIDED
    with pytest.raises(NoWorkerAvailable):
        await read(in_flight.follow(QUERY, failing))

    assert await read(in_flight.follow(QUERY, answering)) == [ANSWER]
    with pytest.raises(NoWorkerAvailable):
        await anext(slow)
    assert len(in_flight) == 0


async def test_a_slow_reader_of_a_failure_leaves_the_run_of_the_retry_alone():
    in_flight = InFlight()
    slow = in_flight.follow(QUERY, failing)
    await anext(slow)
    with pytest.raises(NoWorkerAvailable):
        await read(in_flight.follow(QUERY, failing))
    retry = in_flight.follow(QUERY, answering)
    assert await anext(retry) is ANSWER
    await slow.aclose()

    assert len(in_flight) == 1
    assert await read(retry) == []
    assert len(in_flight) == 0
