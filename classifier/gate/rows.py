"""Logged requests as arrays: what was spent, and how the budget came about."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.errors import DatasetError
from classifier.survival import TIER_BUDGETS

NUM_TIERS: Final = len(TIER_BUDGETS)

MAX_BACKGROUND_ROWS: Final = 20_000
"""Of the rows that classifiers train on, the latest so many serve as background of the checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedOutcome:
    """An outcome, and the decision that led to it.

    Tiers count from 0, simple. `first_tier` is the one that was decided on, `escalations` how often
    it was raised. `propensities` (NUM_TIERS values) are those of the decision; empty when they were
    not logged, and then the budget is taken to have been fixed beforehand. `is_automatic`: the
    classifier decided, and a spent budget may be raised.
    """

    outcome: Outcome
    first_tier: int
    escalations: int = 0
    propensities: tuple[float, ...] = ()
    is_automatic: bool = False
    tenant: str = ""
    finished_at_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.first_tier <= self.first_tier + self.escalations < NUM_TIERS:
            raise DatasetError(
                f"tier {self.first_tier} with {self.escalations} escalations: "
                f"there are tiers 0 to {NUM_TIERS - 1}"
            )
        if self.propensities and not _are_probabilities(self.propensities, self.first_tier):
            raise DatasetError(
                f"tier_propensities are {list(self.propensities)}: must be {NUM_TIERS} "
                "probabilities that add up to 1, above 0 for the tier that was decided on"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRows:
    """Logged outcomes as arrays; every array has one entry per row."""

    data: Dataset
    first_tier: NDArray[np.int64]
    reached_tier: NDArray[np.int64]
    propensities: NDArray[np.float64]  # (num_rows, NUM_TIERS)
    is_automatic: NDArray[np.bool_]
    tenants: NDArray[np.str_]
    finished_at_s: NDArray[np.float64]
    prompts: NDArray[np.int64]  # equal where the prompts are

    @classmethod
    def of(cls, rows: Iterable[LoggedOutcome]) -> Self:
        """Raises DatasetError when there are none, or when ids belong to another version."""
        logged = list(rows)
        return cls(
            data=Dataset.of(row.outcome for row in logged),
            first_tier=np.array([row.first_tier for row in logged]),
            reached_tier=np.array([row.first_tier + row.escalations for row in logged]),
            propensities=np.array([_propensities(row) for row in logged]),
            is_automatic=np.array([row.is_automatic for row in logged]),
            tenants=np.array([row.tenant for row in logged]),
            finished_at_s=np.array([row.finished_at_s for row in logged], dtype=np.float64),
            prompts=np.array([_hash_of(row.outcome.ids) for row in logged]),
        )

    def __len__(self) -> int:
        return len(self.data)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The rows of a mask, or of indices in their order."""
        names = [field.name for field in fields(self) if field.name != "data"]
        arrays = {name: getattr(self, name)[chosen] for name in names}
        return type(self)(data=self.data.rows(chosen), **arrays)

    def held_out(self, latest_share: float) -> Self:
        """Rows of split test among the latest `latest_share`: no classifier learned from them, and
        none from their time if it was trained on what came before. May be empty.
        """
        return self.rows((self.data.splits == "test") & self._is_among_latest(latest_share))

    def background(self) -> Self:
        """Rows of split train, the latest MAX_BACKGROUND_ROWS. May be empty."""
        chosen = np.flatnonzero(self.data.splits == "train")
        order = np.argsort(self.finished_at_s[chosen], kind="stable")
        return self.rows(chosen[order][-MAX_BACKGROUND_ROWS:])

    def _is_among_latest(self, share: float) -> NDArray[np.bool_]:
        since = np.quantile(self.finished_at_s, 1.0 - share, method="inverted_cdf")
        latest: NDArray[np.bool_] = self.finished_at_s >= since
        return latest


def tier_holding(budget_tokens: int, budgets: Sequence[int]) -> int:
    """Index of the smallest tier that holds the budget; the largest for what is above them all."""
    return min(int(np.searchsorted(budgets, budget_tokens)), NUM_TIERS - 1)


def _propensities(row: LoggedOutcome) -> tuple[float, ...]:
    own = tuple(float(tier == row.first_tier) for tier in range(NUM_TIERS))
    return row.propensities or own


def _are_probabilities(values: tuple[float, ...], first_tier: int) -> bool:
    in_range = len(values) == NUM_TIERS and all(0.0 <= value <= 1.0 for value in values)
    return in_range and abs(sum(values) - 1.0) < 1e-6 and values[first_tier] > 0.0


def _hash_of(ids: tuple[int, ...]) -> int:
    return crc32(np.array(ids, dtype="<u4").tobytes())
