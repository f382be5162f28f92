"""Builders for settlements and a ledger on the real Redis."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.v1 import budget_pb2, reasoner_pb2

_SETTLEMENT = Settlement(
    request_id="request-1",
    tenant="tenant-1",
    model="model-1",
    tier=budget_pb2.TIER_MODERATE,
    pool=budget_pb2.POOL_EASY,
    rule=reasoner_pb2.RULE_AUTOMATIC,
    budget_tokens=500,
    stop=budget_pb2.THINKING_STOP_FINISHED,
    finish_reason=budget_pb2.FINISH_REASON_STOP,
    usage=budget_pb2.Usage(
        prompt_tokens=20,
        thinking_tokens=300,
        forced_tokens=3,
        probe_tokens=11,
        answer_tokens=7,
        escalations=1,
        gpu_seconds=0.25,
        peak_kv_bytes=1 << 40,
    ),
    predicted_bin=2,
    prior_hazards=(0.1, 0.25, 0.5),
    propensity=0.99,
    tier_propensities=(0.99, 0.01, 0.0, 0.0),
    predicted_miss=0.0625,
    classifier_version="v1",
    features=(3, 4_000_000_000),
    prompt='Reach 24 from 3, 5, "6" and 8.\nOnce each. é',
    segment=1,
    queue_ms=1.5,
    first_token_ms=12.0,
    worker="worker-1",
    finished_at_s=1_800_000_000.0,
)

MakeSettlement = Callable[..., Settlement]


@pytest.fixture(scope="session")
def make_settlement() -> MakeSettlement:
    def make(**changes: Any) -> Settlement:
        return replace(_SETTLEMENT, **changes)

    return make


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger.from_url(redis_url)
    yield ledger
    await ledger.close()
