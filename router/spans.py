"""What the router's spans say: numbers and names of a request, never its words.

Names under gen_ai. and rpc. are OpenTelemetry's (semantic conventions 1.37, in development), the
others are Ponder's own. The span of a whole request is `request`, of one stretch on one worker
`segment`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.trace import SpanKind

from ponder.tracing import Attributes, CallMetadata, Trace, Tracing, Value
from ponder.v1 import worker_pb2
from ponder.v1.budget_pb2 import FinishReason, ThinkingStop
from ponder.v1.reasoner_pb2 import Clamp, Rule
from router.decisions import Classification, Decision, Reply
from router.journey import Journey
from router.queries import Query
from router.tiers import pool_name, tier_name
from router.worker_link import WorkerLink
from router.worker_loss import WorkerLost, WorkerRefused

REQUEST: Final = "request"
CLASSIFY: Final = "classify"
DECIDE: Final = "decide"
SEGMENT: Final = "segment"
SETTLE: Final = "settle"
ENDED: Final = "ponder.segment.ended"


def of_call(tracing: Tracing, method: str, metadata: CallMetadata) -> Trace:
    """The span of a whole call of the public API."""
    trace = tracing.begin(REQUEST, SpanKind.SERVER, metadata)
    trace.note(_of_method, method)
    return trace


def _of_method(method: str) -> Attributes:
    return {"rpc.system": "grpc", "rpc.service": "ponder.v1.Reasoner", "rpc.method": method}


def of_query(query: Query) -> Attributes:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ponder",
        "gen_ai.request.model": query.model,
        "gen_ai.request.max_tokens": query.max_answer_tokens,
        "ponder.request_id": query.request_id,
        "ponder.tenant": query.tenant.name,
        "ponder.coverage": query.wish.coverage,
    }


def of_classification(found: Classification | None, source: str) -> Attributes:
    return {
        "ponder.classifier.source": source,
        "ponder.classifier.version": found.version if found else "",
    }


def of_decision(decision: Decision) -> Attributes:
    """Tier, budget, and what they rest on."""
    choice, prediction = decision.choice, decision.prediction
    values: dict[str, Value] = {
        "ponder.tier": tier_name(choice.tier),
        "ponder.pool": pool_name(choice.pool),
        "ponder.budget_tokens": choice.budget_tokens,
        "ponder.rule": _word(Rule.Name(choice.rule), "RULE_"),
        "ponder.clamps": [_word(Clamp.Name(clamp), "CLAMP_") for clamp in choice.clamps],
        "ponder.propensity": choice.propensity,
        "ponder.worth_tier": tier_name(choice.worth_tier),
        "ponder.degraded": list(decision.degraded),
    }
    if choice.predicted_miss is not None:
        values["ponder.predicted_miss"] = choice.predicted_miss
    if prediction:
        values["ponder.classifier.version"] = prediction.prior.version
        for name, probability in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            values[f"ponder.need.{name}_tokens"] = prediction.curve.quantile_tokens(probability)
    return values


def of_reply(reply: Reply) -> Attributes:
    """The decision as it stood at the end, and what was spent."""
    usage, timings = reply.usage, reply.timings
    return {
        **of_decision(reply.decision),
        "gen_ai.response.model": reply.decision.model,
        "gen_ai.response.finish_reasons": [
            _word(FinishReason.Name(reply.finish_reason), "FINISH_REASON_")
        ],
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.thinking_tokens + usage.answer_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.thinking_tokens,
        "ponder.thinking.stop": _word(ThinkingStop.Name(reply.stop), "THINKING_STOP_"),
        "ponder.escalations": usage.escalations,
        "ponder.forced_tokens": usage.forced_tokens,
        "ponder.probe_tokens": usage.probe_tokens,
        "ponder.gpu_seconds": usage.gpu_seconds,
        "ponder.peak_kv_bytes": usage.peak_kv_bytes,
        "ponder.queue_ms": timings.queue_ms,
        "ponder.first_token_ms": timings.first_token_ms,
    }


@contextmanager
def segment(
    journey: Journey, request: worker_pb2.ThinkRequest, link: WorkerLink
) -> Iterator[Trace]:
    """The span of one segment; it says why the segment ended."""
    with journey.query.trace.child(SEGMENT, SpanKind.CLIENT) as span:
        span.note(_of_segment, request, link)
        try:
            yield span
        except BaseException as error:
            span.note(_of_segment_end, journey, _how(error))
            raise
        span.note(_of_segment_end, journey, "answered" if journey.is_answered else "exhausted")


def _how(error: BaseException) -> str:
    match error:
        case WorkerLost():
            return "lost"
        case WorkerRefused():
            return f"refused: {error.status.name}"
        case asyncio.CancelledError() | GeneratorExit():
            return "cancelled"
        case _:
            return "failed"


def _of_segment(request: worker_pb2.ThinkRequest, link: WorkerLink) -> Attributes:
    return {
        "rpc.system": "grpc",
        "rpc.service": "ponder.v1.Worker",
        "rpc.method": "Think",
        "server.address": link.address,
        "ponder.segment": request.segment,
        "ponder.tier": tier_name(request.settlement.tier),
        "ponder.pool": pool_name(request.settlement.pool),
        "ponder.budget_tokens": request.thinking_budget,
        "ponder.prefix_tokens": len(request.thinking_prefix_ids),
    }


def _of_segment_end(journey: Journey, ended: str) -> Attributes:
    return {ENDED: ended, "ponder.thinking_tokens": journey.thinking_tokens}


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
