"""How a request came to its budget: the tier that was decided on, and how often it was raised.

Figures about a question such as "is the need above 500 tokens?" need it, as the requests that
answer one are no fair sample of all, see following.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from classifier.errors import DatasetError
from classifier.survival import TIER_BUDGETS
from ponder.settlement import Settlement
from ponder.v1 import reasoner_pb2
from ponder.v1.budget_pb2 import TIER_SIMPLE, Tier
from ponder.v1.reasoner_pb2 import Rule

NUM_TIERS: Final = len(TIER_BUDGETS)

UNKNOWN_TIER: Final = -1
"""In arrays, of a budget that was fixed beforehand: by a collector, or before tiers were logged."""

AUTOMATIC_RULES: Final = (
    reasoner_pb2.RULE_AUTOMATIC,
    reasoner_pb2.RULE_EXPLORATION,
    reasoner_pb2.RULE_DEGRADED_DEFAULT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Tiers count from 0, simple. `first_tier` is the one that was decided on, `escalations` how
    often it was raised. `propensities` (NUM_TIERS values) are those of the decision; empty when
    they were not logged, and then it is taken to have been certain. `is_automatic`: the classifier
    decided, and a spent budget may be raised. Raises DatasetError for what cannot have been.
    """

    first_tier: int
    escalations: int = 0
    propensities: tuple[float, ...] = ()
    is_automatic: bool = False
    tenant: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.first_tier <= self.reached_tier < NUM_TIERS:
            raise DatasetError(
                f"tier {self.first_tier} with {self.escalations} escalations: "
                f"there are tiers 0 to {NUM_TIERS - 1}"
            )
        if self.propensities and not _are_probabilities(self.propensities, self.first_tier):
            raise DatasetError(
                f"tier_propensities are {list(self.propensities)}: must be {NUM_TIERS} "
                "probabilities that add up to 1, above 0 for the tier that was decided on"
            )

    @property
    def reached_tier(self) -> int:
        return self.first_tier + self.escalations

    @classmethod
    def of(cls, settlement: Settlement) -> Self | None:
        """None where no tier was logged."""
        reached = settlement.tier - TIER_SIMPLE
        if reached < 0:
            return None
        return cls(
            first_tier=reached - settlement.usage.escalations,
            escalations=settlement.usage.escalations,
            propensities=settlement.tier_propensities,
            is_automatic=settlement.rule in AUTOMATIC_RULES,
            tenant=settlement.tenant,
        )

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self | None:
        """From a JSON record of `ponder traces`; None for one without a tier."""
        if "tier" not in record:
            return None
        try:
            reached = Tier.Value(record["tier"]) - TIER_SIMPLE
            escalations = int(record.get("escalations", 0))
            rule = Rule.Value(record["rule"]) if "rule" in record else None
            propensities = tuple(map(float, record.get("tier_propensities", ())))
        except (TypeError, ValueError) as error:
            raise DatasetError(str(error)) from error
        return cls(
            first_tier=reached - escalations,
            escalations=escalations,
            propensities=propensities,
            is_automatic=rule in AUTOMATIC_RULES,
            tenant=str(record.get("tenant", "")),
        )

    def certain_or_logged(self) -> tuple[float, ...]:
        """Propensities, those of a certain decision where none were logged."""
        own = tuple(float(tier == self.first_tier) for tier in range(NUM_TIERS))
        return self.propensities or own


def _are_probabilities(values: tuple[float, ...], first_tier: int) -> bool:
    in_range = len(values) == NUM_TIERS and all(0.0 <= value <= 1.0 for value in values)
    return in_range and abs(sum(values) - 1.0) < 1e-6 and values[first_tier] > 0.0
