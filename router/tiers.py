"""The four tiers with their budgets and pools. Pure data, built from the configuration."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from ponder import environment
from ponder.v1.budget_pb2 import (
    POOL_EASY,
    POOL_THINKING,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
    Pool,
    Tier,
)

TIERS: Final = (TIER_SIMPLE, TIER_MODERATE, TIER_COMPLEX, TIER_RESEARCH)
DEFAULT_BUDGETS: Final = (50, 500, 2_000, 10_000)
_MAX_BUDGET: Final = 1_000_000
_POOLS: Final = (POOL_EASY, POOL_EASY, POOL_THINKING, POOL_THINKING)


def tier_name(tier: Tier.ValueType) -> str:
    """As callers and configuration write it: "simple" to "research"."""
    return Tier.Name(tier).removeprefix("TIER_").lower()


def parse_tier(name: str) -> Tier.ValueType:
    """The inverse of tier_name. Raises ValueError."""
    for tier in TIERS:
        if tier_name(tier) == name:
            return tier
    raise ValueError(f"must be one of {', '.join(map(tier_name, TIERS))}")


def pool_name(pool: Pool.ValueType) -> str:
    """ "easy" or "thinking"."""
    return Pool.Name(pool).removeprefix("POOL_").lower()


@dataclass(frozen=True, slots=True)
class TierTable:
    """Thinking tokens that each tier may spend, in the order of TIERS, strictly rising."""

    budgets: tuple[int, ...] = DEFAULT_BUDGETS

    def __post_init__(self) -> None:
        rising = all(
            low < high for low, high in zip((0, *self.budgets), self.budgets, strict=False)
        )
        if len(self.budgets) != len(TIERS) or not rising:
            raise ValueError(f"must be {len(TIERS)} budgets above 0, each above the one before")

    @property
    def largest_budget(self) -> int:
        return self.budgets[-1]

    @property
    def easy_cap(self) -> int:
        """The largest budget that the easy pool serves."""
        return max(self.budget(tier) for tier in TIERS if self.pool(tier) == POOL_EASY)

    def budget(self, tier: Tier.ValueType) -> int:
        return self.budgets[TIERS.index(tier)]

    def pool(self, tier: Tier.ValueType) -> Pool.ValueType:
        return _POOLS[TIERS.index(tier)]

    def holding(self, budget_tokens: int) -> Tier.ValueType:
        """The smallest tier that holds the budget; it must not be above the largest."""
        return next(tier for tier in TIERS if self.budget(tier) >= budget_tokens)

    def below(self, tier: Tier.ValueType) -> Iterator[Tier.ValueType]:
        """The tier and those under it, largest first."""
        return reversed(TIERS[: TIERS.index(tier) + 1])


@dataclass(frozen=True, slots=True)
class TierTables:
    """The tiers of every model: those of its own, or the default ones."""

    default: TierTable = TierTable()
    own: tuple[tuple[str, TierTable], ...] = ()

    def __str__(self) -> str:
        entries = [(f"{model}=", table) for model, table in self.own] + [("", self.default)]
        return ";".join(f"{name}{','.join(map(str, table.budgets))}" for name, table in entries)

    @classmethod
    def parse(cls, value: str) -> Self:
        """Entries between semicolons: `model=` and its four budgets, or only four budgets for all
        other models. Raises ValueError that names the entry.
        """
        tables: dict[str, TierTable] = {}
        for entry in value.split(";"):
            name, equals, budgets = entry.strip().rpartition("=")
            name = name.strip()
            if equals and not name:
                raise ValueError(f"{entry.strip()!r}: no model before the equals sign")
            if name in tables:
                raise ValueError(f"{name or 'entry without a model'}: is there twice")
            tables[name] = _table(name, budgets)
        default = tables.pop("", TierTable())
        return cls(default, tuple(tables.items()))

    def of(self, model: str) -> TierTable:
        return dict(self.own).get(model, self.default)


TiersOf = Callable[[str], TierTable]
"""From the name of a model to its tiers."""


def _table(model: str, budgets: str) -> TierTable:
    try:
        parse_budget = environment.integer(1, _MAX_BUDGET)
        return TierTable(tuple(parse_budget(part.strip()) for part in budgets.split(",")))
    except ValueError as error:
        raise ValueError(f"{model}: {error}" if model else str(error)) from error


def tier_above(tier: Tier.ValueType) -> Tier.ValueType | None:
    """The next tier, or None above research."""
    return next((above for above in TIERS if above > tier), None)
