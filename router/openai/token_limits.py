"""Divides a limit on all tokens, as OpenAI means it, into thinking and answer. Pure.

What results can never sum to more than the limit, whatever the router decides later: neither an
escalation nor exploration goes above max_tier, and an explicit budget is never raised.
"""

from dataclasses import dataclass

from ponder.v1 import reasoner_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerShare:
    """Most tokens of an answer, and how many of a limit thinking leaves to it."""

    max_tokens: int
    reserve_tokens: int


def limit_answer(request: pb.ReasonRequest, max_tokens: int, share: AnswerShare) -> None:
    """For a request that does not think: all of the limit is the answer's."""
    request.max_answer_tokens = min(max_tokens, share.max_tokens)


def divide(
    request: pb.ReasonRequest, max_tokens: int, decision: pb.Decision, share: AnswerShare
) -> None:
    """Bounds a request for which the router decided so when it was asked without limits."""
    most_thinking = max_tokens - min(share.reserve_tokens, (max_tokens + 1) // 2)
    # A budget cut by the deadline is not its tier's: with other speeds it may come out larger.
    is_cut = pb.CLAMP_DEADLINE in decision.clamps
    if is_cut or decision.budget_tokens > most_thinking:
        thinking_tokens = min(decision.budget_tokens, most_thinking)
        request.thinking_budget = thinking_tokens
    else:
        thinking_tokens = _leave_to_router(request, max_tokens, decision, share)
    request.max_answer_tokens = min(max_tokens - thinking_tokens, share.max_tokens)


def _leave_to_router(
    request: pb.ReasonRequest, max_tokens: int, decision: pb.Decision, share: AnswerShare
) -> int:
    """The decided tier, and those above it that leave room for the longest answer.

    Returns the largest budget that may come of it.
    """
    ceiling, budget_tokens = decision.tier, decision.budget_tokens
    for above in decision.survival:
        if above.tier > ceiling and above.budget_tokens + share.max_tokens <= max_tokens:
            ceiling, budget_tokens = above.tier, above.budget_tokens
    request.max_tier = ceiling
    return budget_tokens
