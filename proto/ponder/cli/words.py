"""Decisions and replies in words for people."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ponder.v1.budget_pb2 import FinishReason, Pool, ThinkingStop, Tier
from ponder.v1.reasoner_pb2 import Clamp, Decision, ReasonReply, Rule, TierSurvival

_BAR_WIDTH = 30
# From no eighth to seven eighths of a character cell.
_EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"
_FULL = "\u2588"

_RULES: Mapping[int, str] = MappingProxyType(
    {
        Rule.RULE_EXPLICIT_BUDGET: "the budget that was asked for",
        Rule.RULE_EXPLICIT_TIER: "the tier that was asked for",
        Rule.RULE_AUTOMATIC: "the smallest tier that is likely to suffice",
        Rule.RULE_DEGRADED_DEFAULT: "the default tier, without a prediction",
        Rule.RULE_EXPLORATION: "one tier more than predicted, at random, to learn from",
    }
)
_CLAMPS: Mapping[int, str] = MappingProxyType(
    {
        Clamp.CLAMP_ENTITLEMENT: "the tenant's plan",
        Clamp.CLAMP_MAX_TIER: "--max-tier",
        Clamp.CLAMP_DEADLINE: "the deadline",
        Clamp.CLAMP_LOAD: "the load",
        Clamp.CLAMP_WORTH: "what an answer is worth",
    }
)


def tier_word(tier: Tier.ValueType) -> str:
    """`complex` for TIER_COMPLEX."""
    return _word(Tier.Name(tier), "TIER_")


def pool_word(pool: Pool.ValueType) -> str:
    """`easy` for POOL_EASY."""
    return _word(Pool.Name(pool), "POOL_")


def stop_word(stop: ThinkingStop.ValueType) -> str:
    """`confident` for THINKING_STOP_CONFIDENT."""
    return _word(ThinkingStop.Name(stop), "THINKING_STOP_")


def finish_word(reason: FinishReason.ValueType) -> str:
    """`stop` for FINISH_REASON_STOP."""
    return _word(FinishReason.Name(reason), "FINISH_REASON_")


def decision_line(decision: Decision) -> str:
    """One line: tier, budget, pool, why."""
    line = (
        f"{tier_word(decision.tier)}: up to {decision.budget_tokens} thinking tokens, "
        f"{pool_word(decision.pool)} pool; {_RULES.get(decision.rule, 'rule not given')}"
    )
    clamps = [_CLAMPS.get(clamp, "an unknown limit") for clamp in decision.clamps]
    line += f"; lowered by {', '.join(clamps)}" if clamps else ""
    return line + (f"; degraded: {decision.degraded_reason}" if decision.degraded else "")


def usage_line(reply: ReasonReply) -> str:
    """One line: what was spent, why the thinking stopped, how long it took."""
    usage, stop = reply.usage, stop_word(reply.thinking_stop)
    parts = [f"{usage.thinking_tokens} of {reply.decision.budget_tokens} thinking tokens ({stop})"]
    parts += _extras(reply)
    parts.append(f"{usage.answer_tokens} answer tokens")
    parts.append(
        f"{reply.timings.total_ms:.0f} ms, first token after {reply.timings.first_token_ms:.0f} ms"
    )
    return ", ".join(parts)


def decision_table(decision: Decision) -> str:
    """Several lines: the decision, the predicted need, a bar of survival for each tier."""
    lines = [decision_line(decision)]
    if decision.HasField("need"):
        need = decision.need
        lines.append(
            f"predicted need in thinking tokens: half need up to {need.p50_tokens}, "
            f"90 % up to {need.p90_tokens}, 99 % up to {need.p99_tokens}"
        )
    if decision.survival:
        lines += ["", "chance that a budget does not suffice:"]
        lines += [_bar_line(entry, decision.tier) for entry in decision.survival]
    lines += ["", f"model {decision.model}, classifier {decision.classifier_version or 'none'}"]
    return "\n".join(lines)


def bar(share: float, width: int = _BAR_WIDTH) -> str:
    """A bar of at most `width` characters, precise to an eighth of one."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return (_FULL * full + _EIGHTHS[rest]).rstrip()


def _bar_line(entry: TierSurvival, chosen: Tier.ValueType) -> str:
    mark = "  <- chosen" if entry.tier == chosen else ""
    drawn = bar(entry.survival).ljust(_BAR_WIDTH)
    head = f"  {tier_word(entry.tier):<9}{entry.budget_tokens:>7}"
    return f"{head}  {drawn} {entry.survival:6.1%}{mark}"


def _extras(reply: ReasonReply) -> Iterator[str]:
    if reply.usage.escalations:
        times = "once" if reply.usage.escalations == 1 else f"{reply.usage.escalations} times"
        yield f"escalated {times}"
    if reply.usage.probe_tokens:
        yield f"{reply.usage.probe_tokens} probe tokens"
    if reply.finish_reason not in (
        FinishReason.FINISH_REASON_STOP,
        FinishReason.FINISH_REASON_UNSPECIFIED,
    ):
        yield f"answer cut: {finish_word(reply.finish_reason)}"


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
