"""Whether first budgets sufficed, beside what was predicted: counted per tier that was decided on.

Written by the ledger's script into one hash per time window, with three fields per tier: `T:d`
requests decided on tier T, `T:m` those whose first budget did not suffice, and `T:e` the sum of
their predicted probabilities of that, in millionths.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from ponder import bins
from ponder.settlement import Settlement
from ponder.v1.budget_pb2 import (
    THINKING_STOP_EXHAUSTED,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
    Tier,
)

TIERS: Final = (TIER_SIMPLE, TIER_MODERATE, TIER_COMPLEX, TIER_RESEARCH)
MILLIONTHS: Final = 1_000_000
# Far above what any deployment decides in a day, far below where float64 loses whole numbers.
_MAX_DECIDED: Final = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One first budget: its tier, whether it was too small, and the predicted P(too small)."""

    tier: Tier.ValueType
    missed: bool
    expected: float

    @classmethod
    def of(cls, record: Settlement) -> Self | None:
        """None for a request that tells nothing about the predictions.

        Only first budgets that the prediction alone decided count; others have no predicted_miss. A
        caller's own budget says nothing about ours. A clamp picks requests by load or deadline, and
        an explored one got more than the prediction asked for: mixed in, they would make the
        predictions look worse or better than the budgets they decide.

        Nor does a request that was cut before the budget ended tell whether it would have sufficed.
        """
        missed = first_budget_missed(record)
        tier = record.tier - record.usage.escalations
        if record.predicted_miss is None or missed is None or tier not in TIERS:
            return None
        return cls(tier=TIERS[TIERS.index(tier)], missed=missed, expected=record.predicted_miss)


def first_budget_missed(record: Settlement) -> bool | None:
    """Whether the first budget was too small; None when it was cut before anybody could know."""
    if record.usage.escalations:
        return True
    if bins.stopped_by_itself(record.stop):
        return False
    spent, budget = record.usage.thinking_tokens, record.budget_tokens
    reached = bins.horizon_tokens(spent, budget, record.stop) >= budget
    return True if record.stop == THINKING_STOP_EXHAUSTED and reached else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOutcomes:
    """Requests decided on one tier, those whose budget was too small, and how many were expected.

    0 <= missed <= decided and 0 <= expected <= decided.
    """

    decided: int = 0
    missed: int = 0
    expected: float = 0.0

    @classmethod
    def sum(cls, outcomes: Iterable[Self]) -> Self:
        """All of them together."""
        found = list(outcomes)
        return cls(
            decided=sum(one.decided for one in found),
            missed=sum(one.missed for one in found),
            expected=sum(one.expected for one in found),
        )

    @property
    def miss_rate(self) -> float:
        """Share whose first budget was too small; 0 when nothing was decided."""
        return self.missed / self.decided if self.decided else 0.0

    @property
    def residual(self) -> float:
        """Missed less expected, as a share: above 0 budgets suffice less often than promised."""
        return (self.missed - self.expected) / self.decided if self.decided else 0.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """By the tier decided on first; every tier has an entry."""

    tiers: Mapping[Tier.ValueType, TierOutcomes]

    @classmethod
    def from_hashes(cls, hashes: Iterable[Mapping[bytes, bytes]]) -> Self:
        """Sum of the hashes. A tier whose three numbers cannot be right counts as nothing there."""
        sums = {tier: [0, 0, 0] for tier in TIERS}
        for found in hashes:
            for tier, sum_so_far in sums.items():
                parsed = _parse(found, tier)
                sums[tier] = [a + b for a, b in zip(sum_so_far, parsed, strict=True)]
        return cls({tier: _tier_outcomes(*numbers) for tier, numbers in sums.items()})

    @property
    def total(self) -> TierOutcomes:
        """Over all tiers."""
        return TierOutcomes.sum(self.tiers.values())


def _tier_outcomes(decided: int, missed: int, millionths: int) -> TierOutcomes:
    return TierOutcomes(decided=decided, missed=missed, expected=millionths / MILLIONTHS)


def _parse(found: Mapping[bytes, bytes], tier: Tier.ValueType) -> tuple[int, int, int]:
    names = (f"{int(tier)}:{kind}".encode() for kind in "dme")
    try:
        decided, missed, millionths = (int(found.get(name, 0)) for name in names)
    except ValueError:
        return 0, 0, 0
    valid = 0 <= missed <= decided <= _MAX_DECIDED and 0 <= millionths <= decided * MILLIONTHS
    return (decided, missed, millionths) if valid else (0, 0, 0)
