"""`ponder ledger check` against a real Redis."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from ponder import keys
from ponder.cli.ledger import ledger as command
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.v1 import budget_pb2, reasoner_pb2


@pytest.fixture
def books(redis_url):
    """The URL of a ledger with one settled request."""
    record = Settlement(
        request_id="q-1",
        tenant="acme",
        model="m",
        tier=budget_pb2.TIER_SIMPLE,
        pool=budget_pb2.POOL_EASY,
        rule=reasoner_pb2.RULE_AUTOMATIC,
        budget_tokens=50,
        stop=budget_pb2.THINKING_STOP_FINISHED,
        finish_reason=budget_pb2.FINISH_REASON_STOP,
        usage=budget_pb2.Usage(thinking_tokens=20, answer_tokens=3),
        predicted_bin=None,
        prior_hazards=(),
        propensity=1.0,
        classifier_version="",
        features=(),
        prompt=None,
        segment=0,
        queue_ms=0.0,
        first_token_ms=0.0,
        worker="w",
        finished_at_s=1_800_000_000.0,
    )
    asyncio.run(with_ledger(redis_url, lambda ledger: ledger.settle(record)))
    return redis_url


async def with_ledger(url: str, use) -> None:
    ledger = Ledger.from_url(url)
    await use(ledger)
    await ledger.close()


def check(url: str, *arguments: str):
    return CliRunner().invoke(command, ["check", "--redis-url", url, *arguments])


def test_books_that_balance_say_so(books):
    result = check(books)

    assert result.exit_code == 0
    assert "acme: 1 requests, 20 thinking, 3 answer tokens" in result.output
    assert "the books balance" in result.output


def test_books_that_do_not_exit_with_one_and_say_what_differs(books):
    key = keys.totals("m", "acme")
    asyncio.run(with_ledger(books, lambda ledger: ledger.client.hincrby(key, "answer_tokens", 2)))

    result = check(books, "--json")
    (document,) = json.loads(result.stdout)

    assert result.exit_code == 1
    assert document["faults"] == ["tenant acme: answer_tokens in the totals is 2 above the traces"]


def test_without_traces_it_says_so(redis_url):
    result = check(redis_url)

    assert result.exit_code == 1
    assert "no traces yet" in result.output
