"""The classifiers' store on a real Redis: versions come and go, the rollout has one winner."""

import asyncio

import pytest
import redis.asyncio

from ponder import keys
from ponder.classifiers import MAX_VERSIONS, ClassifierStore, VersionRecord
from ponder.ledger import Ledger, LedgerConfig, LedgerUnavailable
from ponder.rollout import Rollout, RolloutError
from ponder.shadow import ShadowTally
from ponder.v1.budget_pb2 import TIER_MODERATE, TIER_SIMPLE

MODEL = "org/model-1"
A, B = "a" * 16, "b" * 16
NOW_S = 1_800_000_000.0


@pytest.fixture
async def raw(redis_url: str):
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(ledger: Ledger) -> ClassifierStore:
    return ClassifierStore.beside(ledger)


def record(added_at_s: float = 1.0) -> VersionRecord:
    return VersionRecord(added_at_s=added_at_s, added_by="somebody", training_rows=900)


async def change(store: ClassifierStore, after: Rollout, reason: str = "") -> bool:
    return await store.change(MODEL, after, action="promote", reason=reason, changed_by="somebody")


async def test_a_version_comes_back_as_it_was_added(store):
    contents = bytes(range(256)) * 1_000
    await store.add(MODEL, A, contents, record())

    assert await store.read_bytes(MODEL, A) == contents
    assert await store.read_bytes(MODEL, B) is None
    assert await store.versions(MODEL) == {A: record()}
    assert await store.models() == [MODEL]


async def test_the_gate_says_whether_a_version_passed(store):
    for version, passed in ((A, True), (B, False)):
        await store.add(MODEL, version, b"x", record())
        await store.put_gate(MODEL, version, {"passed": passed, "tau": 0.8})
    await store.add(MODEL, A, b"x", record(2.0))

    found = await store.versions(MODEL)

    assert [found[version].has_passed for version in (A, B)] == [True, False]
    assert found[A].gate == {"passed": True, "tau": 0.8}
    with pytest.raises(ValueError, match="needs passed"):
        await store.put_gate(MODEL, A, {"passed": "yes"})


async def test_the_oldest_versions_go_but_none_that_is_named(store):
    versions = [f"{number:016x}" for number in range(MAX_VERSIONS + 5)]
    await store.add(MODEL, versions[0], b"x", record(0.0))
    assert await change(store, Rollout().promoted(versions[0], 1.0))
    for number, version in enumerate(versions[1:], 1):
        await store.add(MODEL, version, b"x", record(float(number)))
        await store.put_gate(MODEL, version, {"passed": True})

    kept = await store.versions(MODEL)

    assert list(kept) == [*reversed(versions[-MAX_VERSIONS:]), versions[0]]
    assert await store.read_bytes(MODEL, versions[1]) is None


async def test_unreadable_records_leave_the_version(store, raw):
    for version, text in ((A, "{"), (B, "[]")):
        await store.add(MODEL, version, b"x", record())
        await raw.hset(keys.classifier_records(MODEL), version, text)
        await raw.hset(keys.classifier_gates(MODEL), version, text)
    await raw.hset(keys.classifiers(MODEL), "no version", b"x")

    found = await store.versions(MODEL)

    assert set(found) == {A, B}
    assert not any(version.has_passed for version in found.values())


async def test_a_change_is_noted(store):
    assert await store.read_rollout(MODEL) is None
    assert await change(store, Rollout().promoted(A, 5.0), reason="better")

    found = await store.read_rollout(MODEL)
    (line,) = await store.history(MODEL)

    assert found is not None
    assert (found.revision, found.champion, found.reason) == (1, A, "better")
    assert (line.revision, line.action, line.champion, line.reason) == (1, "promote", A, "better")


async def test_of_many_changes_at_once_one_wins(redis_url, store):
    await change(store, Rollout().promoted(A, 1.0))
    before = await store.read_rollout(MODEL)
    ledgers = [Ledger.from_url(redis_url, LedgerConfig(timeout_s=20)) for _ in range(8)]

    won = await asyncio.gather(
        *(change(ClassifierStore.beside(each), before.promoted(B, 2.0)) for each in ledgers)
    )

    assert won.count(True) == 1
    assert len(await store.history(MODEL)) == 2
    for each in ledgers:
        await each.close()


async def test_the_history_is_bounded(store):
    rollout = Rollout(champion=A)
    for _ in range(120):
        assert await change(store, rollout)
        rollout = await store.read_rollout(MODEL)

    lines = await store.history(MODEL)
    assert [line.revision for line in lines] == list(range(120, 20, -1))


async def test_a_rollout_that_cannot_be_right_names_its_key(store, raw):
    await change(store, Rollout().promoted(A, 1.0))
    await raw.hset(keys.rollout(MODEL), "canary", "x")

    with pytest.raises(RolloutError, match=r"ponder:\{org%2Fmodel-1\}:rollout in Redis: canary"):
        await store.read_rollout(MODEL)


async def test_keys_of_the_wrong_type_change_nothing(store, raw):
    await raw.set(keys.rollout_history(MODEL), "text")

    with pytest.raises(LedgerUnavailable, match="WRONGTYPE"):
        await change(store, Rollout().promoted(A, 1.0))
    assert await store.read_rollout(MODEL) is None


async def test_shadows_of_all_routers_add_up_and_fade(store, raw):
    first, second = ShadowTally(), ShadowTally()
    first.add(TIER_SIMPLE, TIER_SIMPLE, 100)
    first.add(TIER_SIMPLE, TIER_MODERATE, 100)
    second.add(TIER_SIMPLE, TIER_SIMPLE, 150)
    second.add_failure()
    for tally in (first, second):
        await store.add_shadow(MODEL, A, tally, NOW_S)
    await raw.hset(keys.shadow(MODEL, A, 1_800_000_000), mapping={"1:1:1": 5, "2:2": "x", "9:9": 1})

    found = await store.read_shadow(MODEL, A, NOW_S)
    later = await store.read_shadow(MODEL, A, NOW_S + 86_400)

    assert found.tiers == {(TIER_SIMPLE, TIER_SIMPLE): 2, (TIER_SIMPLE, TIER_MODERATE): 1}
    assert (found.agreed, found.compared, found.failed, found.microseconds) == (2, 3, 1, 350)
    assert later == ShadowTally()


async def test_all_keys_of_a_model_share_one_slot(store, raw):
    await store.add("a}b{c", A, b"x", record())
    await store.put_gate("a}b{c", A, {"passed": True})
    await store.change("a}b{c", Rollout(champion=A), action="promote", reason="", changed_by="")

    slots = {await raw.execute_command("CLUSTER", "KEYSLOT", key) for key in await raw.keys("*")}
    assert len(slots) == 1
    assert await store.models() == ["a}b{c"]
