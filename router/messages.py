"""From the router's own types to the messages of the public API. Pure functions."""

from collections.abc import Iterator
from typing import Final

from ponder.v1 import reasoner_pb2 as pb
from router.decisions import Answered, Decided, Decision, Event, Finished, Reply, Thought
from router.survival import SurvivalCurve
from router.tiers import TIERS, TiersOf, TierTable

_P50: Final = 0.5
_P90: Final = 0.9
_P99: Final = 0.99


def decision_message(decision: Decision, tiers_of: TiersOf) -> pb.Decision:
    """Survival is told for the budget of each tier of its model."""
    choice, prediction = decision.choice, decision.prediction
    return pb.Decision(
        tier=choice.tier,
        budget_tokens=choice.budget_tokens,
        pool=choice.pool,
        need=_need(prediction.curve) if prediction else None,
        survival=_survival(prediction.curve, tiers_of(decision.model)) if prediction else (),
        rule=choice.rule,
        clamps=choice.clamps,
        classifier_version=prediction.prior.version if prediction else "",
        model=decision.model,
        propensity=choice.propensity,
        degraded=bool(decision.degraded),
        degraded_reason="; ".join(decision.degraded),
    )


def reply_message(reply: Reply, tiers_of: TiersOf) -> pb.ReasonReply:
    return pb.ReasonReply(
        request_id=reply.request_id,
        answer=reply.answer,
        decision=decision_message(reply.decision, tiers_of),
        thinking_stop=reply.stop,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        timings=reply.timings,
        thinking=reply.thinking,
    )


def event_message(event: Event, tiers_of: TiersOf) -> pb.ReasonEvent:
    match event:
        case Decided(decision):
            return pb.ReasonEvent(decision=decision_message(decision, tiers_of))
        case Thought(thinking_tokens, segment):
            progress = pb.Progress(thinking_tokens=thinking_tokens, segment=segment)
            return pb.ReasonEvent(progress=progress)
        case Answered(text):
            return pb.ReasonEvent(answer_delta=text)
        case Finished(reply):
            return pb.ReasonEvent(final=reply_message(reply, tiers_of))


def _need(curve: SurvivalCurve) -> pb.NeedQuantiles:
    return pb.NeedQuantiles(
        p50_tokens=curve.quantile_tokens(_P50),
        p90_tokens=curve.quantile_tokens(_P90),
        p99_tokens=curve.quantile_tokens(_P99),
    )


def _survival(curve: SurvivalCurve, tiers: TierTable) -> Iterator[pb.TierSurvival]:
    for tier in TIERS:
        budget = tiers.budget(tier)
        yield pb.TierSurvival(tier=tier, budget_tokens=budget, survival=curve.at(budget))
