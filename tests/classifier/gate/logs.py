"""Simulated logs whose truth is known: any mixture of prompts, policy and chance to go on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifier.dataset import Dataset
from classifier.gate.rows import LoggedRows
from classifier.survival import TIER_BUDGETS, Floats
from ponder.bins import NUM_NEED_BINS

BUDGETS = tuple(TIER_BUDGETS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What happened (needs, decisions) and how decisions are raised."""

    needs: NDArray[np.int64]
    propensities: NDArray[np.float64]  # (num_rows, 4)
    first_tier: NDArray[np.int64]
    ceiling: NDArray[np.int64]  # the tier above which the row is not raised

    @property
    def rows(self) -> LoggedRows:
        """What the logs show of it."""
        needed = np.searchsorted(BUDGETS, self.needs)
        reached = np.maximum(self.first_tier, np.minimum(needed, self.ceiling))
        budgets = np.array(BUDGETS)[np.minimum(reached, 3)]
        known = self.needs <= budgets
        count = len(self.needs)
        nothing = np.zeros((count, NUM_NEED_BINS), dtype=np.bool_)
        data = Dataset(
            features=np.zeros((count, 1), dtype=np.float32),
            events=nothing,
            at_risk=nothing,
            thinking_tokens=np.minimum(self.needs, budgets),
            budget_tokens=budgets,
            horizon_tokens=budgets,
            need_known=known,
            families=np.full(count, ""),
            splits=np.full(count, "test"),
            weights=np.ones(count),
            first_tiers=self.first_tier,
            reached_tiers=np.minimum(reached, 3),
            propensities=self.propensities,
            is_automatic=np.ones(count, dtype=np.bool_),
            tenants=np.full(count, ""),
            prompts=np.full(count, "", dtype=object),
        )
        return LoggedRows(
            data=data,
            finished_at_s=np.arange(count, dtype=np.float64),
            prompts=np.arange(count),
        )


def drawn(rng: np.random.Generator, propensities: Floats) -> NDArray[np.int64]:
    """One tier per row."""
    below = np.cumsum(propensities, axis=1)[:, :-1]
    tiers: NDArray[np.int64] = (rng.random((len(propensities), 1)) > below).sum(axis=1)
    return tiers


def world(
    rng: np.random.Generator,
    needs: NDArray[np.int64],
    propensities: NDArray[np.float64],
    goes_on: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> World:
    """Decisions by the propensities, raised with these chances whenever a budget is spent."""
    first = drawn(rng, propensities)
    raised = rng.random((len(needs), 3)) < np.array(goes_on)
    ceiling = first.copy()
    for tier in range(3):
        ceiling = np.where((ceiling == tier) & raised[:, tier], tier + 1, ceiling)
    return World(needs=needs, propensities=propensities, first_tier=first, ceiling=ceiling)


def lognormal_needs(rng: np.random.Generator, medians: Floats) -> NDArray[np.int64]:
    """Needs around a median each."""
    return np.maximum(1, np.exp(np.log(medians) + 1.2 * rng.standard_normal(len(medians)))).astype(
        np.int64
    )
