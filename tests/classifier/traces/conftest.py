"""Settlements, and a ledger on the real Redis that holds some."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from classifier.features import encode
from ponder.bins import NUM_NEED_BINS, bin_of_need
from ponder.ledger import Ledger, LedgerConfig
from ponder.settlement import Settlement
from ponder.v1 import budget_pb2, reasoner_pb2

MODEL = "org/model-1"
TRACE = Settlement(
    request_id="r",
    tenant="acme",
    model=MODEL,
    tier=budget_pb2.TIER_MODERATE,
    pool=budget_pb2.POOL_EASY,
    rule=reasoner_pb2.RULE_AUTOMATIC,
    budget_tokens=500,
    stop=budget_pb2.THINKING_STOP_FINISHED,
    finish_reason=budget_pb2.FINISH_REASON_STOP,
    usage=budget_pb2.Usage(
        prompt_tokens=20,
        thinking_tokens=300,
        answer_tokens=7,
        gpu_seconds=0.1,
        peak_kv_bytes=1 << 40,
    ),
    predicted_bin=bin_of_need(200),
    prior_hazards=(0.1,) * NUM_NEED_BINS,
    propensity=0.99,
    tier_propensities=(0.0, 0.99, 0.01, 0.0),
    classifier_version="v1",
    features=tuple(encode("Reach 24.").tolist()),
    prompt="Reach 24.",
    segment=0,
    queue_ms=1.5,
    first_token_ms=12.0,
    worker="w1",
    finished_at_s=1_800_000_000.25,
)

Settle = Callable[..., Awaitable[list[Settlement]]]


def trace(**changes: Any) -> Settlement:
    """A settlement; fields of the usage may be named too."""
    usage = budget_pb2.Usage()
    usage.CopyFrom(TRACE.usage)
    for name in {field.name for field in usage.DESCRIPTOR.fields} & set(changes):
        setattr(usage, name, changes.pop(name))
    return replace(TRACE, usage=usage, **changes)


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    yield ledger
    await ledger.close()


@pytest.fixture
def settle(ledger: Ledger) -> Settle:
    """Settles traces numbered from `first`, and returns them."""

    async def settle(count: int, first: int = 0, **changes: Any) -> list[Settlement]:
        made = [trace(request_id=f"r{first + i}", **changes) for i in range(count)]
        for record in made:
            await ledger.settle(record)
        return made

    return settle
