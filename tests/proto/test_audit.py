"""The proof of the totals, on a real Redis that somebody has meddled with."""

import pytest

from ponder import keys
from ponder.audit import audit
from ponder.settler import Settler
from ponder.spool import Spool
from ponder.v1.budget_pb2 import Usage

NOW_S = 1_800_000_100.0
MODEL, TENANT = "model-1", "tenant-1"


@pytest.fixture
async def settled(ledger, make_settlement):
    for number in range(12):
        usage = Usage(thinking_tokens=number, answer_tokens=2, gpu_seconds=0.1 * number)
        tenant = TENANT if number % 3 else "tenant-[2]"
        await ledger.settle(make_settlement(request_id=f"r{number}", usage=usage, tenant=tenant))
    return ledger


async def faults(ledger, **options) -> str:
    return "\n".join((await audit(ledger, MODEL, NOW_S, **options)).faults())


async def test_books_that_balance(settled):
    found = await audit(settled, MODEL, NOW_S)

    assert found.faults() == []
    assert [books.tenant for books in found.tenants] == [TENANT, "tenant-[2]"]
    assert found.tenants[0].totals.thinking_tokens == sum(n for n in range(12) if n % 3)


@pytest.mark.parametrize("tokens", [1, -1])
async def test_a_total_that_was_changed(settled, tokens):
    await settled.client.hincrby(keys.totals(MODEL, TENANT), "thinking_tokens", tokens)

    assert "tenant tenant-1: thinking_tokens" in await faults(settled)


async def test_a_request_that_was_counted_twice(settled, make_settlement):
    await settled.client.delete(keys.settled(MODEL, TENANT, "r1"))
    await settled.settle(make_settlement(request_id="r1"))

    assert "settled more than once, for instance r1" in await faults(settled)


async def test_a_trace_that_was_deleted(settled):
    ((trace_id, _), *_) = await settled.client.xrange(keys.traces(MODEL))
    await settled.client.xdel(keys.traces(MODEL), trace_id)
    await settled.client.hincrby(keys.totals(MODEL, TENANT), "requests", -1)

    assert "trimmed" in await faults(settled)


async def test_a_marker_that_is_missing_or_says_otherwise(settled):
    await settled.client.delete(keys.settled(MODEL, TENANT, "r1"))
    await settled.client.set(keys.settled(MODEL, TENANT, "r2"), '{"thinking_tokens":99}')

    found = await audit(settled, MODEL, NOW_S)

    assert (found.unmarked, found.restated) == (("r1",), ("r2",))


async def test_traces_trimmed_for_their_number_are_no_fault(settled):
    await settled.client.xtrim(keys.traces(MODEL), maxlen=3, approximate=False)

    found = await audit(settled, MODEL, NOW_S)

    assert (found.faults(), found.num_trimmed, found.num_traces) == ([], 9, 3)


async def test_what_is_spooled_is_counted_once(settled, tmp_path, make_settlement):
    with Spool(tmp_path) as spool:
        spool.append(make_settlement(request_id="r1"))  # settled before: the reply was lost
        spool.append(make_settlement(request_id="new", usage=Usage(thinking_tokens=5)))

        found = await audit(settled, MODEL, NOW_S, [tmp_path])
        assert found.tenants[0].spooled.requests == 1
        assert found.tenants[0].spooled.thinking_tokens == 5

        await Settler(settled, spool, clock=lambda: NOW_S).replay()
        found = await audit(settled, MODEL, NOW_S, [tmp_path])

    assert (found.faults(), found.tenants[0].spooled.requests) == ([], 0)
