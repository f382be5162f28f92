"""The metrics of an answered request: OpenTelemetry's names where it has them, and whose it was."""

from ponder.v1.budget_pb2 import TIER_SIMPLE
from router import request_metrics

LABELS = {"tier": "simple", "pool": "easy", "stop": "finished", "gen_ai.request.model": "small"}


def histograms(stack):
    data = stack.metrics.get_metrics_data()
    return {
        metric.name: metric.data.data_points
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if hasattr(metric.data.data_points[0], "bucket_counts")
    }


async def test_each_has_model_tier_pool_and_stop(start):
    async with start() as stack:
        reply = await stack.reason(tier=TIER_SIMPLE)
        found = histograms(stack)

        assert stack.counted("ponder.router.requests", rule="explicit_tier", **LABELS) == 1
        assert stack.counted("ponder.router.gpu_time", **LABELS) == reply.usage.gpu_seconds > 0

    once = {
        "ponder.router.thinking.used": reply.usage.thinking_tokens,
        "ponder.router.kv_bytes": reply.usage.peak_kv_bytes,
        "ponder.router.queue_time": reply.timings.queue_ms / 1e3,
        "gen_ai.server.request.duration": reply.timings.total_ms / 1e3,
        "gen_ai.server.time_to_first_token": reply.timings.first_token_ms / 1e3,
    }
    for name, value in once.items():
        (point,) = found[name]
        assert LABELS.items() <= dict(point.attributes).items(), name
        assert (point.count, point.sum) == (1, value), name
    (per_token,) = found["gen_ai.server.time_per_output_token"]
    assert 0 < per_token.sum < reply.timings.total_ms / 1e3
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in found["gen_ai.client.token.usage"]}
    usage = reply.usage
    assert tokens == {
        "input": usage.prompt_tokens,
        "output": usage.thinking_tokens + usage.answer_tokens,
    }


async def test_without_a_prediction_none_is_recorded(start, classifier_path):
    async with start() as stack:
        await stack.reason()
        assert "ponder.router.thinking.predicted" not in histograms(stack)
    async with start(classifier=str(classifier_path)) as stack:
        await stack.reason()
        (point,) = histograms(stack)["ponder.router.thinking.predicted"]

    assert (point.count, point.attributes["gen_ai.request.model"]) == (1, "small")


async def test_what_never_happened_is_told_as_zero(start):
    """So that an alarm on the rise of a counter sees its first rise."""
    async with start() as stack:
        data = stack.metrics.get_metrics_data()
    points = {
        metric.name: [(dict(point.attributes), point.value) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }

    for name in ("classifier.rollbacks", "classifier.refused", "quarantined", "failovers"):
        assert points[f"ponder.router.{name}"] == [({}, 0)]
    assert ({"part": "quotas"}, 0) in points["ponder.router.degraded"]


async def test_no_label_holds_what_a_caller_wrote(start):
    async with start() as stack:
        await stack.reason(prompt="Tell me about zebras.", request_id="zebra-1")
        await stack.refusal(prompt="zebra\x00")
        told = str(stack.metrics.get_metrics_data())

    assert "zebra" not in told.lower()


async def test_tokens_and_device_time_are_told_by_tenant(start):
    async with start() as stack:
        reply = await stack.reason(tier=TIER_SIMPLE)
        usage = reply.usage
        told = {
            kind: stack.counted("ponder.router.tenant.tokens", tenant="local", kind=kind)
            for kind in ("prompt", "thinking", "answer")
        }
        of = {"tenant": "local", "tier": "simple"}

        assert stack.counted("ponder.router.tenant.gpu_time", **of) == usage.gpu_seconds > 0
    assert told == {
        "prompt": usage.prompt_tokens,
        "thinking": usage.thinking_tokens,
        "answer": usage.answer_tokens,
    }


async def test_tenants_beyond_the_most_share_a_name(start, monkeypatch):
    monkeypatch.setattr(request_metrics, "_MOST_TENANTS", 0)
    async with start() as stack:
        await stack.reason()

        assert stack.counted("ponder.router.tenant.tokens", tenant="local") == 0
        assert stack.counted("ponder.router.tenant.tokens", tenant="others") > 0
