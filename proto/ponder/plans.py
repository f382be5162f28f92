"""What a tenant may use: a highest tier, thinking tokens per minute and month, requests at once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Final, Self

from ponder.v1.budget_pb2 import TIER_COMPLEX, Tier

TIER_NAMES: Final[Mapping[str, Tier.ValueType]] = MappingProxyType(
    {
        name.removeprefix("TIER_").lower(): value
        for name, value in sorted(Tier.items(), key=lambda item: item[1])
        if value
    }
)
"""From "simple" to "research"."""
MAX_LIMIT: Final = 10**15
"""Of any number in a plan: Lua, which counts them in Redis, has doubles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPlan:
    """0 is no limit. The month is the calendar month in UTC.

    Research is for tenants who pay for it: no plan has it unless it says so.
    """

    max_tier: Tier.ValueType = TIER_COMPLEX
    tokens_per_minute: int = 0
    tokens_per_month: int = 0
    concurrency: int = 0

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """From TOML or JSON. Raises ValueError, which begins with the name of the field."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(table) - set(known)):
            raise ValueError(f"{unknown[0]}: unknown; a plan has {', '.join(known)}")
        values = dict(table)
        if "max_tier" in values:
            values["max_tier"] = _tier(values["max_tier"])
        for name in known[1:]:
            _check_limit(name, values.get(name, 0))
        return cls(**values)

    def to_table(self) -> dict[str, str | int]:
        """The inverse of from_table."""
        return asdict(self) | {"max_tier": self.tier_name}

    @property
    def has_limits(self) -> bool:
        """Besides the highest tier."""
        return any((self.tokens_per_minute, self.tokens_per_month, self.concurrency))

    @property
    def tier_name(self) -> str:
        """As people write it."""
        return Tier.Name(self.max_tier).removeprefix("TIER_").lower()


def _tier(name: object) -> Tier.ValueType:
    if not isinstance(name, str) or name not in TIER_NAMES:
        raise ValueError(f"max_tier: must be one of {', '.join(TIER_NAMES)}")
    return TIER_NAMES[name]


def _check_limit(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= MAX_LIMIT:
        raise ValueError(f"{name}: must be a whole number from 0 (no limit) to {MAX_LIMIT}")
