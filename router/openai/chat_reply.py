"""From replies of the router to chat completions and their chunks. Pure functions.

Forced tokens are fed, not sampled: they are told in `ponder` and count as nobody's tokens, so
`completion_tokens` is thinking and answer, and `reasoning_tokens` is exactly the thinking.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import (
    FINISH_REASON_STOP,
    FinishReason,
    Pool,
    ThinkingStop,
    Tier,
    Usage,
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What every part of one completion repeats. `created_s` is Unix time."""

    request_id: str
    created_s: int

    def whole(self, reply: pb.ReasonReply) -> Json:
        """The reply to a request without stream."""
        message = {"role": "assistant", "content": reply.answer, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None}
        return {
            **self._head("chat.completion", reply.decision.model),
            "choices": [{**choice, "finish_reason": finish_reason(reply)}],
            "usage": usage(reply.usage),
            "ponder": ponder(reply),
        }

    def chunk(self, model: str, delta: Json, finish: str | None = None) -> Json:
        """One piece of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head("chat.completion.chunk", model), "choices": [choice]}

    def usage_chunk(self, reply: pb.ReasonReply) -> Json:
        """The last piece of a stream that includes its usage."""
        head = self._head("chat.completion.chunk", reply.decision.model)
        return {**head, "choices": [], "usage": usage(reply.usage)}

    def _head(self, kind: str, model: str) -> Json:
        name = f"chatcmpl-{self.request_id}"
        return {"id": name, "object": kind, "created": self.created_s, "model": model}


def finish_reason(reply: pb.ReasonReply) -> str:
    """An answer that the deadline cut is cut, too."""
    return "stop" if reply.finish_reason == FINISH_REASON_STOP else "length"


def usage(spent: Usage) -> Json:
    """OpenAI's usage."""
    completion_tokens = spent.thinking_tokens + spent.answer_tokens
    return {
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": spent.prompt_tokens + completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": spent.thinking_tokens},
    }


def decision(decided: pb.Decision) -> Json:
    """How the budget came about."""
    need = decided.need
    quantiles = {"p50": need.p50_tokens, "p90": need.p90_tokens, "p99": need.p99_tokens}
    return {
        "tier": _word(Tier.Name, "TIER_", decided.tier),
        "budget_tokens": decided.budget_tokens,
        "pool": _word(Pool.Name, "POOL_", decided.pool),
        "rule": _word(pb.Rule.Name, "RULE_", decided.rule),
        "clamps": [_word(pb.Clamp.Name, "CLAMP_", clamp) for clamp in decided.clamps],
        "need_tokens": quantiles if decided.HasField("need") else None,
        "classifier_version": decided.classifier_version or None,
        "degraded": decided.degraded_reason or None,
    }


def ponder(reply: pb.ReasonReply) -> Json:
    """What OpenAI's format has no place for."""
    spent = reply.usage
    return {
        "request_id": reply.request_id,
        "decision": decision(reply.decision),
        "thinking_stop": _word(ThinkingStop.Name, "THINKING_STOP_", reply.thinking_stop),
        "finish_reason": _word(FinishReason.Name, "FINISH_REASON_", reply.finish_reason),
        "forced_tokens": spent.forced_tokens,
        "probe_tokens": spent.probe_tokens,
        "escalations": spent.escalations,
        "gpu_seconds": spent.gpu_seconds,
        "first_token_ms": reply.timings.first_token_ms,
        "total_ms": reply.timings.total_ms,
    }


def _word(name: Callable[[Any], str], prefix: str, value: int) -> str:
    """A value that only a newer router knows is told as its number."""
    try:
        return name(value).removeprefix(prefix).lower()
    except ValueError:
        return str(value)
