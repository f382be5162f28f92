"""Without Redis or classifier no request fails or waits; the reply says what was missing."""

import os
import signal
import time

import grpc
import pytest

from classifier.features import encode
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_MODERATE
from tests.router.conftest import Stack


def kill(redis) -> None:
    os.kill(redis.pid, signal.SIGKILL)
    redis.stop()


async def fresh(stack: Stack) -> None:
    await stack.plan_when(lambda decision: "counts" not in decision.degraded_reason)


async def test_a_missing_classifier_means_the_default_tier(start):
    async with start(default_tier="complex") as stack:
        decision = (await stack.reason()).decision

        assert stack.counted("ponder.router.degraded", part="classifier") == 1
    assert (decision.rule, decision.tier) == (pb.RULE_DEGRADED_DEFAULT, TIER_COMPLEX)
    assert decision.degraded
    assert "classifier" in decision.degraded_reason
    assert not decision.HasField("need")


async def test_a_trace_without_prediction_holds_the_features_to_train_the_first_one_on(start):
    async with start() as stack:
        await stack.reason(prompt="my secret")
        (trace,) = await stack.traces()

    assert trace.features == tuple(encode("my secret").tolist())


async def test_a_request_without_prediction_counts_in_no_posterior(start):
    async with start() as stack:
        await stack.reason()
        counts = await stack.ledger.read_counts("small", "", time.time(), "local")

    assert sum(map(sum, counts.at_risk)) == 0


async def test_with_everything_there_nothing_is_degraded(start, classifier_path):
    async with start(classifier=str(classifier_path)) as stack:
        await fresh(stack)
        decision = (await stack.reason()).decision

    assert (decision.degraded, decision.degraded_reason) == (False, "")
    assert decision.classifier_version
    assert [entry.budget_tokens for entry in decision.survival] == [50, 500, 2_000, 10_000]


async def test_a_killed_redis_fails_no_decision(start, own_redis, classifier_path):
    async with start(redis_url=own_redis.url, classifier=str(classifier_path)) as stack:
        await fresh(stack)
        kill(own_redis)
        decision = await stack.plan_when(lambda found: found.degraded)

        assert stack.counted("ponder.router.degraded", part="counts") >= 1
    assert decision.rule == pb.RULE_AUTOMATIC
    assert "last read" in decision.degraded_reason


async def test_what_the_router_owes_is_kept_on_disk_while_redis_is_away(start, own_redis, tmp_path):
    async with start(redis_url=own_redis.url) as stack:
        stack.easy.script.die_at = 32
        stack.thinking.script.refuse = grpc.StatusCode.UNAVAILABLE
        kill(own_redis)
        code, _ = await stack.refusal(request_id="q-1", tier=TIER_MODERATE)

    assert code == grpc.StatusCode.UNAVAILABLE
    assert '"request_id":"q-1"' in (tmp_path / "spool" / "settlements.jsonl").read_text()


async def test_feedback_without_redis_is_refused(start, own_redis):
    async with start(redis_url=own_redis.url) as stack:
        kill(own_redis)
        with pytest.raises(grpc.aio.AioRpcError, match="send it again") as caught:
            await stack.stub.Feedback(pb.FeedbackRequest(request_id="q-1", correct=True))

    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
