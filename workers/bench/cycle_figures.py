"""What the traces of a phase say, and those of pairs: the same questions under two classifiers.

Pure. The utility of a decision is that of the gate: a step up is worth one escalation where the
budget below would not have sufficed, and costs 0.1 either way; so the gate's off-policy estimate
can be held against it. Here every need is known, as every spent budget was raised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ponder import bins
from ponder.outcomes import Outcome
from ponder.settlement import Settlement
from ponder.v1.budget_pb2 import TIER_SIMPLE
from workers.training.shares import Z_95, Share

TIER_BUDGETS: Final = (50, 500, 2_000, 10_000)
STEP_PRICE: Final = 0.1
"""In escalations: 1 less the coverage that the policy aims at."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its 95 % interval, by the normal approximation."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> Self:
        if len(values) < 2:
            return cls(float(values.mean()) if len(values) else math.nan, math.nan, math.nan)
        half = Z_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
        mean = float(values.mean())
        return cls(mean, mean - half, mean + half)

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """`covered`: first budgets, chosen by the prediction alone, that sufficed: those that were
    explored, or lowered by the deadline, are left out. `promised`: the share of them that were
    predicted to. `log_loss` is that of the need by the classifier's own
    curve, before any correction, in nats. The rest are means per request.
    """

    requests: int
    covered: Share
    promised: float
    escalations: float
    first_budget_tokens: float
    thinking_tokens: float
    log_loss: Mean

    @classmethod
    def of(cls, traces: Sequence[Settlement]) -> Self:
        outcomes = [outcome for trace in traces if (outcome := Outcome.of(trace))]
        expected = [outcome.expected for outcome in outcomes]
        return cls(
            requests=len(traces),
            covered=Share.of(not outcome.missed for outcome in outcomes),
            promised=1.0 - _mean(expected),
            escalations=_mean([trace.usage.escalations for trace in traces]),
            first_budget_tokens=_mean([TIER_BUDGETS[first_tier(trace)] for trace in traces]),
            thinking_tokens=_mean([trace.usage.thinking_tokens for trace in traces]),
            log_loss=Mean.of(np.array([log_loss(trace) for trace in traces])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """The new classifier less the old one, over pairs. `value_of_curves` is of the tiers that their
    own curves ask for, which is what the gate estimates; `value_served` of those that were decided,
    with what the router had learned online of either.
    """

    pairs: int
    same_need: Share
    covered: Mean
    escalations: Mean
    thinking_tokens: Mean
    log_loss: Mean
    value_of_curves: Mean
    value_served: Mean

    @classmethod
    def of(cls, old: Sequence[Settlement], new: Sequence[Settlement]) -> Self:
        """Both in the order of the questions."""
        pairs = list(zip(old, new, strict=True))
        both = [(Outcome.of(a), Outcome.of(b)) for a, b in pairs]
        covered = [float(a.missed) - float(b.missed) for a, b in both if a and b]
        needs = [a.usage.thinking_tokens == b.usage.thinking_tokens for a, b in pairs]
        return cls(
            pairs=len(pairs),
            same_need=Share.of(needs),
            covered=Mean.of(np.array(covered)),
            escalations=_difference([(a.usage.escalations, b.usage.escalations) for a, b in pairs]),
            thinking_tokens=_difference(
                [(a.usage.thinking_tokens, b.usage.thinking_tokens) for a, b in pairs]
            ),
            log_loss=_difference([(log_loss(a), log_loss(b)) for a, b in pairs]),
            value_of_curves=_difference(
                [(utility(own_tier(a), a), utility(own_tier(b), b)) for a, b in pairs]
            ),
            value_served=_difference(
                [(utility(first_tier(a), a), utility(first_tier(b), b)) for a, b in pairs]
            ),
        )


def first_tier(trace: Settlement) -> int:
    """The tier that was decided on, from 0."""
    return trace.tier - TIER_SIMPLE - trace.usage.escalations


def own_tier(trace: Settlement) -> int:
    """The tier, from 0, that the classifier's own curve asks for."""
    stays = 1.0 - np.array(trace.prior_hazards)
    above = [float(stays[: bins.num_bins_within(b)].prod()) for b in TIER_BUDGETS[:-1]]
    return sum(survival > STEP_PRICE for survival in above)


def utility(tier: int, trace: Settlement) -> float:
    """Of deciding on this tier for a request whose need the trace tells."""
    is_open = not bins.stopped_by_itself(trace.stop)
    needed = [is_open or trace.usage.thinking_tokens > b for b in TIER_BUDGETS[:tier]]
    return sum(needed) - STEP_PRICE * tier


def log_loss(trace: Settlement) -> float:
    """Negative log-likelihood of the need, exact under right-censoring: ponder.bins."""
    events, at_risk = bins.need_vectors(
        trace.usage.thinking_tokens, trace.budget_tokens, trace.stop
    )
    hazards = np.clip(np.array(trace.prior_hazards), 1e-9, 1 - 1e-9)
    losses = -np.where(np.array(events) == 1, np.log(hazards), np.log1p(-hazards))
    return float((losses * np.array(at_risk)).sum())


def _difference(pairs: Sequence[tuple[float, float]]) -> Mean:
    return Mean.of(np.array([new - old for old, new in pairs], dtype=np.float64))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
