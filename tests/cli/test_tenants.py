"""`ponder tenants` on a real Redis: what it stores, prints, and refuses."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from ponder import keys
from ponder.cli import main
from ponder.ledger import Ledger, LedgerConfig
from ponder.plans import TenantPlan
from ponder.quotas import RequestName
from ponder.tenant_store import TenantRecord, TenantStore, digest
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_RESEARCH


@pytest.fixture
def run(redis_url: str) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        environment = {"PONDER_REDIS_URL": redis_url}
        return CliRunner().invoke(main, ["tenants", *arguments], env=environment)

    return run


@pytest.fixture
def document(run) -> Callable[..., dict[str, Any]]:
    def document(*arguments: str) -> dict[str, Any]:
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.output)
        return found

    return document


@pytest.fixture
def stored(redis_url: str) -> Callable[[], dict[str, TenantRecord]]:
    async def read() -> dict[str, TenantRecord]:
        ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
        try:
            found = await TenantStore.beside(ledger).read()
        finally:
            await ledger.close()
        assert not found.problems
        return found.records

    return lambda: asyncio.run(read())


def test_a_new_tenant_gets_a_key_of_which_only_the_hash_is_stored(document, stored, redis_url):
    key = document("add", "acme")["key"]

    record = stored()["acme"]
    assert record.plan == TenantPlan(max_tier=TIER_COMPLEX)
    assert [entry.sha256 for entry in record.keys] == [digest(key)]
    with redis.Redis.from_url(redis_url) as client:
        assert key.encode() not in b"".join(client.hgetall(keys.TENANTS).values())


def test_a_key_is_printed_once(run):
    added = run("add", "acme")
    key = added.stdout.split()[-1]

    assert key.startswith("ponder-")
    for command in (("show", "acme"), ("list",), ("show", "acme", "--json"), ("list", "--json")):
        shown = run(*command)
        assert shown.exit_code == 0
        assert key not in shown.output
        assert digest(key) not in shown.output


def test_a_plan_changes_only_where_it_is_told_to(document, stored):
    document("add", "acme", "--tokens-per-minute", "20000", "--concurrency", "8")
    document("plan", "acme", "--max-tier", "research", "--concurrency", "0")

    assert stored()["acme"].plan == TenantPlan(
        max_tier=TIER_RESEARCH, tokens_per_minute=20_000, concurrency=0
    )


def test_a_key_is_replaced_without_a_gap(document, stored):
    old = document("add", "acme")["key"]
    new = document("key", "add", "acme")["key"]
    assert {entry.sha256 for entry in stored()["acme"].keys} == {digest(old), digest(new)}

    document("key", "revoke", "acme", digest(old)[:12])

    assert [entry.sha256 for entry in stored()["acme"].keys] == [digest(new)]


def test_a_subject_belongs_to_one_tenant(document, run, stored):
    document("add", "acme", "--no-key")
    document("add", "other")
    document("subject", "add", "acme", "spiffe://example.org/acme")

    refused = run("subject", "add", "other", "spiffe://example.org/acme")

    assert refused.exit_code == 1
    assert "belongs to acme" in refused.output
    assert stored()["acme"].subjects == ("spiffe://example.org/acme",)
    assert not stored()["acme"].keys
    document("subject", "remove", "acme", "spiffe://example.org/acme")
    assert not stored()["acme"].subjects


def test_a_removed_tenant_is_gone(document, stored, run):
    document("add", "acme")

    assert run("remove", "acme", "--yes").exit_code == 0
    assert not stored()
    assert run("remove", "acme", "--yes").exit_code == 1


def test_list_shows_plans_and_says_what_it_cannot_read(document, run, redis_url):
    document("add", "acme", "--tokens-per-month", "5000000")
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.TENANTS, "broken", "{}")

    listed = run("list")

    assert "acme: up to complex, 5,000,000 per month; 1 key" in listed.stdout
    assert "'broken': unreadable record" in listed.stderr


def test_show_tells_what_was_used(document, run, redis_url):
    document("add", "acme")

    async def use() -> None:
        ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
        name = RequestName(tenant="acme", model="m", request_id="q")
        await ledger.quotas.charge(name, 1_234, finished_at_s=1.8e9, remembered_s=9)
        await ledger.close()

    asyncio.run(use())

    used = document("show", "acme")["used"]
    assert used == {"by_month": {"2027-01": 1_234}, "running": 0, "reserved": 0}
    assert "2027-01: 1,234 thinking tokens" in run("show", "acme").stdout


def test_two_changes_at_once_lose_none(redis_url, document, stored):
    document("add", "acme")

    async def add_key(key: str) -> None:
        ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
        store = TenantStore.beside(ledger)
        await store.change(lambda records: records["acme"].with_key(key, 0.0))
        await ledger.close()

    async def add_keys() -> None:
        await asyncio.gather(*(add_key(f"k{i}") for i in range(4)))

    asyncio.run(add_keys())

    kept = {entry.sha256 for entry in stored()["acme"].keys}
    assert kept >= {digest(f"k{i}") for i in range(4)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "a b"), "a name has 1 to 64"),
        (("add", "acme", "--max-tier", "all"), "'simple', 'moderate', 'complex', 'research'"),
        (("add", "acme", "--concurrency", "-1"), "--concurrency"),
        (("plan", "nobody", "--concurrency", "1"), "no tenant nobody; there are: none yet"),
        (("plan", "nobody"), "say what to change"),
        (("show", "nobody"), "no tenant nobody"),
        (("key", "revoke", "nobody", "12"), "no tenant nobody"),
        (("subject", "remove", "nobody", "x"), "no tenant nobody"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(run, arguments, message):
    result = run(*arguments)

    assert result.exit_code != 0
    assert message in result.output


def test_adding_twice_and_an_unknown_key_are_refused(run, document):
    document("add", "acme")

    assert "acme exists" in run("add", "acme").output
    assert "no one key 'ffffffffffff'" in run("key", "revoke", "acme", "ffffffffffff").output
    assert "no one key ''" in run("key", "revoke", "acme", "").output


def test_help_teaches(run):
    shown = run("--help").output

    for word in ("ponder tenants add acme", "ROUTER_STORED_TENANTS=on", "authorization: Bearer"):
        assert word in shown
