"""Candidate and champion with what they predict for the rows that judge them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.dataset import Dataset
from classifier.errors import ClassifierError
from classifier.following import Following
from classifier.gate.rows import LoggedRows
from classifier.metadata import GENERAL_MODEL
from classifier.predictor import DifficultyClassifier
from classifier.survival import (
    COLD_COVERAGE,
    COVERAGE,
    TIER_BUDGETS,
    Floats,
    median_need,
    survival_of,
)
from ponder.bins import NEED_BIN_EDGES

FEWEST_ROWS: Final = 1_000
"""No option lets fewer held-out rows judge."""

MIN_SLICE_ROWS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """`min_rows` held-out rows are needed; they are of the latest `latest_share` of the traces.

    `budgets` are those of the tiers in the logs. `step_price` is what a decision one tier higher
    costs, in escalations saved; see value.py. `processor_time_ns` is the clock of the latency.
    """

    min_rows: int = 5_000
    latest_share: float = 0.25
    budgets: tuple[int, ...] = tuple(TIER_BUDGETS.values())
    step_price: float = 1.0 - COVERAGE
    processor_time_ns: Callable[[], int] = field(
        default_factory=lambda: time.thread_time_ns, repr=False
    )

    def __post_init__(self) -> None:
        if self.min_rows < FEWEST_ROWS:
            raise ValueError(f"min_rows is {self.min_rows}, must be {FEWEST_ROWS} or more")
        if not 0.0 < self.latest_share <= 1.0:
            raise ValueError(f"latest_share is {self.latest_share}, must be above 0, at most 1")
        rising = all(a < b for a, b in zip((0, *self.budgets), self.budgets, strict=False))
        if len(self.budgets) != len(TIER_BUDGETS) or not rising:
            raise ValueError(f"budgets are {self.budgets}, must be {len(TIER_BUDGETS)} that rise")


@dataclass(frozen=True, slots=True)
class Contender:
    """A classifier's outputs for some rows, each (num_rows, NUM_NEED_BINS) or (num_rows,)."""

    served: DifficultyClassifier
    hazards: Floats
    survival: Floats  # follows from the hazards
    graph_survival: Floats
    graph_tier: NDArray[np.int64]

    @classmethod
    def of(cls, served: DifficultyClassifier, data: Dataset) -> Self:
        """Raises ClassifierError when the graph fails, or gives what is no probability."""
        hazards, survival, tier = served.outputs(data.features)
        are_hazards = (hazards >= 0.0) & (hazards <= 1.0)  # false for NaN
        if num_wrong := int((~are_hazards.all(axis=1)).sum()):
            raise ClassifierError(
                f"for {num_wrong} of {len(hazards)} requests it predicts what is no probability: "
                "train it again"
            )
        exact = hazards.astype(np.float64)
        return cls(served, exact, survival_of(exact), survival, tier)

    def rows(self, chosen: NDArray[np.bool_]) -> Self:
        """The outputs for some of the rows."""
        return type(self)(
            self.served,
            self.hazards[chosen],
            self.survival[chosen],
            self.graph_survival[chosen],
            self.graph_tier[chosen],
        )

    @property
    def median(self) -> Floats:
        return median_need(self.survival)

    def survival_at(self, tokens: int) -> Floats:
        """P(need > tokens) (num_rows,), between edges a straight line, as the router reads it."""
        return survival_at(self.survival, tokens)

    def tier(self, budgets: tuple[int, ...]) -> NDArray[np.int64]:
        """The smallest tier (num_rows,) that suffices with probability COVERAGE, or COLD_COVERAGE
        by the general classifier, as the router decides; the largest when none does.
        """
        coverage = COLD_COVERAGE if self.served.model == GENERAL_MODEL else COVERAGE
        misses = [self.survival_at(budget) > 1.0 - coverage for budget in budgets[:-1]]
        tiers: NDArray[np.int64] = np.sum(misses, axis=0, dtype=np.int64)
        return tiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Both on the held-out rows. `background` are rows that classifiers may have learned from."""

    candidate: Contender
    champion: Contender
    rows: LoggedRows
    following: Following
    background: LoggedRows
    options: GateOptions

    @property
    def data(self) -> Dataset:
        return self.rows.data


def survival_at(survival: Floats, tokens: int) -> Floats:
    """P(need > tokens) (num_rows,) of curves (num_rows, NUM_NEED_BINS)."""
    edges = np.array((0, *NEED_BIN_EDGES))
    upper = int(np.clip(np.searchsorted(edges, tokens), 1, len(edges) - 1))
    share = min(1.0, (tokens - edges[upper - 1]) / (edges[upper] - edges[upper - 1]))
    curves = np.concatenate([np.ones((len(survival), 1)), survival], axis=1)
    at: Floats = curves[:, upper - 1] + share * (curves[:, upper] - curves[:, upper - 1])
    return at
