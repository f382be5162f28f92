"""How a shadow classifier compared with the one that decided: counts that all routers add to.

In Redis one hash per time window: `T:S` requests for which the deciding classifier chose tier T and
the shadow tier S, `failed` those for which the shadow failed, `microseconds` that it took in all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ponder.v1.budget_pb2 import (
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
    Tier,
)

TIERS: Final = (TIER_SIMPLE, TIER_MODERATE, TIER_COMPLEX, TIER_RESEARCH)
_FAILED: Final = "failed"
_MICROSECONDS: Final = "microseconds"
# Far above what any deployment counts in a day.
_MAX_COUNT: Final = 1 << 50

Pair = tuple[Tier.ValueType, Tier.ValueType]


@dataclass(slots=True)
class ShadowTally:
    """`tiers` counts requests by (tier decided on, tier that the shadow would have taken)."""

    tiers: dict[Pair, int] = field(default_factory=dict)
    failed: int = 0
    microseconds: int = 0

    @property
    def compared(self) -> int:
        return sum(self.tiers.values())

    @property
    def agreed(self) -> int:
        return sum(count for (tier, shadow), count in self.tiers.items() if tier == shadow)

    def add(self, tier: Tier.ValueType, shadow: Tier.ValueType, microseconds: int) -> None:
        """One request that both classified."""
        self.tiers[tier, shadow] = self.tiers.get((tier, shadow), 0) + 1
        self.microseconds += microseconds

    def add_failure(self) -> None:
        self.failed += 1

    def add_all(self, other: "ShadowTally") -> None:
        """What another one counted."""
        for pair, count in other.tiers.items():
            self.tiers[pair] = self.tiers.get(pair, 0) + count
        self.failed += other.failed
        self.microseconds += other.microseconds

    def to_hash(self) -> dict[str, int]:
        """Without what is 0."""
        named = {f"{int(tier)}:{int(shadow)}": n for (tier, shadow), n in self.tiers.items()}
        counts = {**named, _FAILED: self.failed, _MICROSECONDS: self.microseconds}
        return {name: count for name, count in counts.items() if count}

    @classmethod
    def from_hashes(cls, hashes: Iterable[Mapping[bytes, bytes]]) -> "ShadowTally":
        """Sum of the hashes; fields that nothing of ours wrote count as nothing."""
        tally = cls()
        for found in hashes:
            tally.failed += _count(found, _FAILED)
            tally.microseconds += _count(found, _MICROSECONDS)
            for tier in TIERS:
                for shadow in TIERS:
                    if count := _count(found, f"{int(tier)}:{int(shadow)}"):
                        tally.tiers[tier, shadow] = tally.tiers.get((tier, shadow), 0) + count
        return tally


def _count(found: Mapping[bytes, bytes], name: str) -> int:
    try:
        count = int(found.get(name.encode(), 0))
    except ValueError:
        return 0
    return count if 0 <= count <= _MAX_COUNT else 0
