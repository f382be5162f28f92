"""What a router tells of itself, and whom."""

import hashlib
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.outcomes import TierOutcomes
from ponder.v1 import operations_pb2 as pb
from ponder.v1 import operations_pb2_grpc
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, TIER_COMPLEX, TIER_MODERATE
from router.operations import drift
from tests.router.conftest import Stack, eventually, request

TENANTS = """
[tenants.acme]
max_tier = "research"
key_sha256 = ["{digest}"]
"""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def status(stack: Stack, key: str = "") -> pb.StatusReply:
    stub: Any = operations_pb2_grpc.OperationsStub(stack.channel)
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    reply: pb.StatusReply = await stub.Status(pb.StatusRequest(), timeout=20, metadata=metadata)
    return reply


async def test_workers_and_what_is_missing_are_told(start):
    async with start() as stack:
        before = await status(stack)
        await stack.thinking_server.stop(None)

        async def lost() -> pb.StatusReply | None:
            now = await status(stack)
            return None if now.workers[1].is_alive else now

        after = await eventually(lost)

    assert [worker.pool for worker in before.workers] == [POOL_EASY, POOL_THINKING]
    assert all(worker.is_alive and worker.load.models for worker in before.workers)
    assert before.degraded == ["small: no classifier, requests get the default tier"]
    assert after.workers[0].is_alive
    assert "no live worker in the thinking pool" in after.degraded


async def test_requests_are_told_by_the_tier_decided_on_first(start):
    async with start() as stack:
        for worker in (stack.easy, stack.thinking):
            worker.script.need = lambda request: 700
        await stack.reason()
        await stack.reason(tier=TIER_COMPLEX)
        (model,) = (now := await status(stack)).models

    tiers = {tier.tier: tier for tier in model.tiers}
    moderate, complex_ = tiers[TIER_MODERATE], tiers[TIER_COMPLEX]
    assert (moderate.requests, moderate.budget_hits, moderate.escalated) == (1, 1, 1)
    assert (complex_.requests, complex_.budget_hits, complex_.escalated) == (1, 0, 0)
    assert (moderate.used_tokens, complex_.budget_tokens) == (700, 2_000)
    assert [(one.tenant, one.requests, one.tokens) for one in now.tenants] == [("local", 2, 1408)]
    assert (now.in_flight, dict(model.classified)) == (0, {"none": 2})


async def test_coverage_and_classifier_are_told(start, classifier_path):
    async with start(classifier=str(classifier_path)) as stack:
        reply = await stack.reason(prompt="Find x when 6x + 3 = 39.")

        async def read() -> pb.ModelStatus | None:
            (model,) = (await status(stack)).models
            return model if sum(tier.decided for tier in model.tiers) else None

        model = await eventually(read)

    assert model.classifier_version == reply.decision.classifier_version
    assert (model.classifier_source, dict(model.classified)) == ("chosen", {"chosen": 1})
    (decided,) = (tier for tier in model.tiers if tier.decided)
    assert decided.expected == pytest.approx(reply.decision.survival[0].survival, abs=1e-5)
    assert (decided.predicted_requests, model.drift) == (1, pb.DRIFT_UNSPECIFIED)


async def test_a_lost_worker_and_a_refused_request_are_counted(start):
    async with start() as stack:
        stack.easy.script.die_at = 32
        await stack.reason()
        await stack.refusal(prompt="")
        now = await status(stack)

    assert (now.failovers, dict(now.errors)) == (1, {"INVALID_ARGUMENT": 1})
    assert now.degraded_decisions["classifier"] == 1


async def test_a_request_under_way_is_seen(start):
    async with start() as stack:
        stack.easy.script.hold_at = 16
        call = stack.stub.ReasonStream(request())
        await stack.easy.holding.wait()
        now = await status(stack)
        stack.easy.release.set()
        async for _ in call:
            pass

    assert (now.in_flight, now.workers[0].outstanding_tokens > 0) == (1, True)


async def test_without_redis_it_says_what_is_missing(start, own_redis, classifier_path):
    async with start(redis_url=own_redis.url, classifier=str(classifier_path)) as stack:
        await stack.plan_when(lambda decision: not decision.degraded)
        own_redis.stop()
        # Nobody is left to settle what was thought but the router, and that has no Redis.
        stack.easy.script.die_at = stack.thinking.script.die_at = 32
        await stack.refusal()

        async def said() -> list[str] | None:
            degraded = list((await status(stack)).degraded)
            return degraded if any("spool" in text for text in degraded) else None

        degraded = await eventually(said)

    assert any("observed counts: not readable in Redis" in text for text in degraded)


@pytest.mark.parametrize("key", ["", "a-tenants-key", "wrong"])
async def test_with_tenants_it_is_closed_to_them(start, tmp_path, key):
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS.format(digest=sha256("a-tenants-key")))
    for operator_key in ("", sha256("the-operators-key")):
        async with start(tenants_file=str(path), operator_key_sha256=operator_key) as stack:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await status(stack, key)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_operators_key_opens_it(start, tmp_path):
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS.format(digest=sha256("a-tenants-key")))
    key = "the-operators-key"
    async with start(tenants_file=str(path), operator_key_sha256=sha256(key)) as stack:
        assert (await status(stack, key)).workers


@pytest.mark.parametrize(
    ("decided", "missed", "expected", "verdict"),
    [
        (199, 199, 0.0, pb.DRIFT_UNSPECIFIED),
        (1_000, 100, 100.0, pb.DRIFT_NONE),
        (1_000, 0, 100.0, pb.DRIFT_NONE),  # more often than promised wastes, but keeps the promise
        (1_000, 120, 100.0, pb.DRIFT_NONE),  # within chance
        (10_000, 1_300, 1_000.0, pb.DRIFT_WARN),
        (10_000, 1_600, 1_000.0, pb.DRIFT_ALARM),
    ],
)
def test_drift_is_more_misses_than_chance_explains(decided, missed, expected, verdict):
    assert drift(TierOutcomes(decided=decided, missed=missed, expected=expected)) == verdict


@given(st.integers(200, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_drift_never_falls_as_misses_rise(decided, share, expected_share):
    missed, expected = int(share * decided), expected_share * decided
    verdicts = [
        drift(TierOutcomes(decided=decided, missed=m, expected=expected))
        for m in sorted({0, missed, decided})
    ]
    assert verdicts == sorted(verdicts)
