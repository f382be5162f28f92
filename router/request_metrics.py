"""The metrics of answered requests, per model, tier, pool and what stopped the thinking.

Names under gen_ai. are OpenTelemetry's semantic conventions for generative AI (in development).
"""

from typing import Final

from opentelemetry.metrics import Meter

from ponder.v1.budget_pb2 import ThinkingStop
from ponder.v1.reasoner_pb2 import Rule
from router.decisions import Reply
from router.tiers import pool_name, tier_name

REQUESTS: Final = "ponder.router.requests"
THINKING_USED: Final = "ponder.router.thinking.used"
THINKING_PREDICTED: Final = "ponder.router.thinking.predicted"
QUEUE_TIME: Final = "ponder.router.queue_time"
GPU_TIME: Final = "ponder.router.gpu_time"
TENANT_TOKENS: Final = "ponder.router.tenant.tokens"
TENANT_GPU_TIME: Final = "ponder.router.tenant.gpu_time"
KV_BYTES: Final = "ponder.router.kv_bytes"
DURATION: Final = "gen_ai.server.request.duration"
FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"
OUTPUT_TOKEN: Final = "gen_ai.server.time_per_output_token"
TOKENS: Final = "gen_ai.client.token.usage"

_GEN_AI: Final = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "ponder"}
_THINKING_TOKENS: Final = (16, 50, 120, 250, 500, 1000, 2000, 4000, 10_000)
_KV_BYTES: Final = tuple(4**power for power in range(8, 18))
# Those of the conventions; time per token goes further down, small models being faster.
_DURATIONS_S: Final = tuple(0.01 * 2**power for power in range(14))
_FIRST_TOKENS_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_QUEUE_TIMES_S: Final = (*_FIRST_TOKENS_S, 30.0, 60.0)
_OUTPUT_TOKENS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0),
    2.5,
)
_TOKENS: Final = tuple(4**power for power in range(14))
# A tenant is twelve points of a counter, of which the SDK tells no more than 2,000: those that come
# after so many share a name.
_MOST_TENANTS: Final = 100
OTHER_TENANTS: Final = "others"


class RequestMetrics:
    """Its instruments, and what is recorded when a request has been answered."""

    def __init__(self, meter: Meter) -> None:
        self._requests = meter.create_counter(REQUESTS, description="Requests answered")
        self._gpu = meter.create_counter(GPU_TIME, "s", "Time of the workers' devices")
        self._used = meter.create_histogram(
            THINKING_USED, "{token}", explicit_bucket_boundaries_advisory=_THINKING_TOKENS
        )
        self._predicted = meter.create_histogram(
            THINKING_PREDICTED,
            "{token}",
            "Predicted medians of the need",
            explicit_bucket_boundaries_advisory=_THINKING_TOKENS,
        )
        self._kv = meter.create_histogram(
            KV_BYTES, "By", "Largest KV cache held", explicit_bucket_boundaries_advisory=_KV_BYTES
        )
        self._queue_time = meter.create_histogram(
            QUEUE_TIME,
            "s",
            "In the workers' queues",
            explicit_bucket_boundaries_advisory=_QUEUE_TIMES_S,
        )
        self._duration = meter.create_histogram(
            DURATION, "s", explicit_bucket_boundaries_advisory=_DURATIONS_S
        )
        self._first_token = meter.create_histogram(
            FIRST_TOKEN, "s", explicit_bucket_boundaries_advisory=_FIRST_TOKENS_S
        )
        self._output_token = meter.create_histogram(
            OUTPUT_TOKEN, "s", explicit_bucket_boundaries_advisory=_OUTPUT_TOKENS_S
        )
        self._tokens = meter.create_histogram(
            TOKENS, "{token}", explicit_bucket_boundaries_advisory=_TOKENS
        )
        self._tenant_tokens = meter.create_counter(
            TENANT_TOKENS, "{token}", "Tokens of answered requests, by who asked"
        )
        self._tenant_gpu = meter.create_counter(
            TENANT_GPU_TIME, "s", "Time of the workers' devices, by who asked"
        )
        self._tenants: set[str] = set()

    def record(self, reply: Reply, tenant: str) -> None:
        """One answered request, as it ended. `tenant` is as the credential names it."""
        choice, usage, timings = reply.decision.choice, reply.usage, reply.timings
        stop = ThinkingStop.Name(reply.stop).removeprefix("THINKING_STOP_").lower()
        rule = Rule.Name(choice.rule).removeprefix("RULE_").lower()
        labels = {
            **_GEN_AI,
            "gen_ai.request.model": reply.decision.model,
            "tier": tier_name(choice.tier),
            "pool": pool_name(choice.pool),
            "stop": stop,
        }
        self._requests.add(1, {**labels, "rule": rule})
        self._gpu.add(usage.gpu_seconds, labels)
        self._used.record(usage.thinking_tokens, labels)
        if prediction := reply.decision.prediction:
            self._predicted.record(prediction.curve.quantile_tokens(0.5), labels)
        self._kv.record(usage.peak_kv_bytes, labels)
        self._queue_time.record(timings.queue_ms / 1e3, labels)
        self._record_speed(reply, labels)
        output_tokens = usage.thinking_tokens + usage.answer_tokens
        self._tokens.record(usage.prompt_tokens, {**labels, "gen_ai.token.type": "input"})
        self._tokens.record(output_tokens, {**labels, "gen_ai.token.type": "output"})
        self._charge(reply, {"tenant": self._shown(tenant), "tier": tier_name(choice.tier)})

    def _charge(self, reply: Reply, labels: dict[str, str]) -> None:
        usage = reply.usage
        spent = {
            "prompt": usage.prompt_tokens,
            "thinking": usage.thinking_tokens,
            "answer": usage.answer_tokens,
        }
        for kind, tokens in spent.items():
            self._tenant_tokens.add(tokens, {**labels, "kind": kind})
        self._tenant_gpu.add(usage.gpu_seconds, labels)

    def _shown(self, tenant: str) -> str:
        if tenant not in self._tenants and len(self._tenants) >= _MOST_TENANTS:
            return OTHER_TENANTS
        self._tenants.add(tenant)
        return tenant

    def _record_speed(self, reply: Reply, labels: dict[str, str]) -> None:
        usage, timings = reply.usage, reply.timings
        self._duration.record(timings.total_ms / 1e3, labels)
        self._first_token.record(timings.first_token_ms / 1e3, labels)
        later_tokens = usage.thinking_tokens + usage.answer_tokens - 1
        if later_tokens > 0:
            later_s = (timings.total_ms - timings.first_token_ms) / 1e3
            self._output_token.record(later_s / later_tokens, labels)
