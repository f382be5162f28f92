"""What was settled is charged exactly once, also when who settled it dies before it has charged."""

import json
from collections.abc import Sequence

import pytest
import redis.asyncio

from ponder import keys
from ponder.ledger import Ledger
from ponder.plans import TenantPlan
from ponder.quotas import Quotas, RequestName, Spent, Used
from ponder.settlement import Settlement
from ponder.settler import Settler
from ponder.spool import Spool
from ponder.v1.budget_pb2 import Usage

NOW_S = 1_800_000_000.0
NAME = RequestName(tenant="tenant-1", model="model-1", request_id="request-1")
CHARGED_ONCE = Used(by_month={"2027-01": 300}, running=0, reserved=0)
PLAN = TenantPlan(tokens_per_month=1_000)


class Killed(BaseException):
    """Nothing that the dead process would have done after this is done."""


class KilledBeforeTheCharge(Quotas):
    async def charge_all(self, spent: Sequence[Spent], *, remembered_s: int) -> list[bool]:
        raise Killed


@pytest.fixture
async def settled_only(ledger: Ledger, make_settlement):
    """The request holds a reservation, is settled, and its worker is dead."""
    await ledger.quotas.reserve(NAME, 500, PLAN, life_s=1e6, now_s=NOW_S)
    dying = Ledger(ledger.client, ledger.config, KilledBeforeTheCharge(ledger.client, 20))
    with pytest.raises(Killed):
        await dying.settle(make_settlement())
    assert (await ledger.totals("model-1", "tenant-1")).requests == 1
    assert await used(ledger) == Used(by_month={}, running=1, reserved=500)


async def used(ledger: Ledger) -> Used:
    return await ledger.quotas.read("tenant-1", 0.0)  # whatever time it is for Redis


@pytest.mark.usefixtures("settled_only")
async def test_a_worker_killed_between_settling_and_charging_is_charged_for_once(ledger):
    assert [await ledger.charge_overdue("model-1", NOW_S + 5) for _ in range(3)] == [1, 0, 0]

    assert await used(ledger) == CHARGED_ONCE


@pytest.mark.usefixtures("settled_only")
@pytest.mark.parametrize("is_charged_first", [True, False])
async def test_a_replay_after_the_kill_charges_once_too(
    ledger, tmp_path, make_settlement, is_charged_first
):
    """Another worker has taken the request over, with a usage that does not count."""
    with Spool(tmp_path / "spool") as spool:
        spool.append(make_settlement(usage=Usage(thinking_tokens=7)))
        settler = Settler(ledger, spool, clock=lambda: NOW_S)
        if is_charged_first:
            await ledger.charge_overdue("model-1", NOW_S)
        await settler.replay()
        await ledger.charge_overdue("model-1", NOW_S)

    assert await used(ledger) == CHARGED_ONCE


async def test_a_charge_that_was_made_is_not_made_again(ledger, make_settlement):
    await ledger.settle(make_settlement())

    assert await ledger.client.hlen(keys.uncharged("model-1")) == 1
    assert await ledger.charge_overdue("model-1", NOW_S) == 0
    assert await used(ledger) == CHARGED_ONCE
    assert await ledger.client.hlen(keys.uncharged("model-1")) == 0


async def test_notes_go_with_the_settlements_that_follow(ledger, make_settlement):
    for number in range(5):
        await ledger.settle(make_settlement(request_id=f"r{number}"))

    assert await ledger.client.hlen(keys.uncharged("model-1")) == 1


async def test_removing_a_note_costs_no_round_trip(ledger, make_settlement):
    await ledger.settle(make_settlement(request_id="loads the scripts"))
    with_a_note_to_remove = await reads_of(ledger, make_settlement(request_id="a"))
    without = await reads_of(Ledger(ledger.client, ledger.config), make_settlement(request_id="b"))

    assert with_a_note_to_remove == without


async def reads_of(ledger: Ledger, record: Settlement) -> int:
    before = await reads(ledger)
    await ledger.settle(record)
    return await reads(ledger) - before


async def reads(ledger: Ledger) -> int:
    """How often the server has read from its clients so far."""
    return int((await ledger.client.info("stats"))["total_reads_processed"])


@pytest.mark.usefixtures("settled_only")
async def test_what_may_have_been_charged_and_forgotten_is_not_charged(ledger):
    late_s = NOW_S + ledger.config.settled_life_s + 1

    assert await ledger.charge_overdue("model-1", late_s) == 0
    assert await ledger.client.hlen(keys.uncharged("model-1")) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": -5},
        {"tokens": 10**400},
        {"tokens": float("inf")},
        {"finished_at_s": 1e300},
        {"finished_at_s": float("nan")},
        {"tenant": "another"},
        {"request_id": "\ud800"},
        {"request_id": None},
    ],
)
@pytest.mark.usefixtures("settled_only")
async def test_a_corrupted_note_charges_nobody_and_stands_in_nobodys_way(
    redis_url, ledger, make_settlement, change
):
    """Beside it is one that is good."""
    name, text = (await ledger.client.hgetall(keys.uncharged("model-1"))).popitem()
    spoilt = json.dumps(json.loads(text) | change)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.hset(keys.uncharged("model-1"), mapping={name: spoilt, "x": "no note"})
    dying = Ledger(ledger.client, ledger.config, KilledBeforeTheCharge(ledger.client, 20))
    with pytest.raises(Killed):
        await dying.settle(make_settlement(tenant="good"))

    assert await ledger.charge_overdue("model-1", NOW_S) == 1
    assert await used(ledger) == Used(by_month={}, running=1, reserved=500)
    assert (await ledger.quotas.read("good", NOW_S)).by_month == {"2027-01": 300}
