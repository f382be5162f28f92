"""Traces as training data: what was asked (features), and how much thinking it took.

A row is right-censored where the budget cut it; ponder.bins says what that leaves known. Rows need
no reweighting for the tier they were given: the budget was chosen from the features, and given the
features it tells nothing more about the need. They have weights where they stand for others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.columns import SPLITS, Columns, Outcome, in_columns
from classifier.errors import DatasetError
from classifier.features import NUM_FEATURES, vectorize_rows
from classifier.reservoir import Reservoir

MAX_ROWS: Final = (80_000, 20_000, 40_000)
"""Most rows kept of each of SPLITS: what fits, 4 kB a row, into less than a gigabyte."""

_ANY_NUMBER: Final = (2**62, 2**62, 2**62)
_BLOCK_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Outcomes as arrays; every array has one entry per outcome."""

    features: NDArray[np.float32]  # (num_rows, NUM_FEATURES)
    events: NDArray[np.bool_]  # (num_rows, NUM_NEED_BINS)
    at_risk: NDArray[np.bool_]  # (num_rows, NUM_NEED_BINS)
    thinking_tokens: NDArray[np.int64]
    budget_tokens: NDArray[np.int64]
    horizon_tokens: NDArray[np.int64]  # whether the need is above is known up to here
    need_known: NDArray[np.bool_]  # stopped by itself: thinking_tokens is the need
    families: NDArray[np.str_]
    splits: NDArray[np.str_]
    weights: NDArray[np.float64]  # rows that it stands for, mean 1
    first_tiers: NDArray[np.int64]  # this and what follows: see Columns
    reached_tiers: NDArray[np.int64]
    propensities: NDArray[np.float64]  # (num_rows, NUM_TIERS)
    is_automatic: NDArray[np.bool_]
    tenants: NDArray[np.str_]
    prompts: NDArray[np.object_]

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """All of them, in their order.

        Raises DatasetError when there are none, or when ids belong to another version.
        """
        try:
            return cls.of_columns(in_columns(outcomes))
        except ValueError as error:
            raise DatasetError(str(error)) from error

    @classmethod
    def of_columns(
        cls, chunks: Iterable[Columns], max_rows: tuple[int, int, int] = _ANY_NUMBER
    ) -> Self:
        """From a stream, of which at most `max_rows` of each of SPLITS are kept: then the rows are
        weighted and grouped by split, see Reservoir.

        Raises DatasetError when there are none, or when ids belong to another version.
        """
        reservoir = Reservoir(max_rows)
        for chunk in chunks:
            reservoir.add(chunk)
        sample = reservoir.sample()
        if not len(sample.rows):
            raise DatasetError("no trace is usable: collect some, or check the model name")
        rows = sample.rows
        events, at_risk = rows.need_vectors()
        return cls(
            features=_features(rows),
            events=events,
            at_risk=at_risk,
            thinking_tokens=rows.thinking_tokens,
            budget_tokens=rows.budget_tokens,
            horizon_tokens=rows.horizon_tokens(),
            need_known=rows.stopped_by_itself(),
            families=rows.families.astype(np.str_),
            splits=np.array(SPLITS)[sample.splits],
            weights=sample.weights,
            first_tiers=rows.first_tiers,
            reached_tiers=rows.reached_tiers,
            propensities=rows.propensities,
            is_automatic=rows.is_automatic,
            tenants=rows.tenants.astype(np.str_),
            prompts=rows.prompts,
        )

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Self:
        """The rows of a mask, or of indices in their order."""
        return type(self)(**{name: getattr(self, name)[chosen] for name in self.__slots__})

    def split(self, name: str) -> Self:
        """One of SPLITS, without copying where its rows are together. Raises DatasetError when no
        row falls into it.
        """
        chosen = np.flatnonzero(self.splits == name)
        if not len(chosen):
            raise DatasetError(
                f"no row of {len(self)} falls into split {name}: collect more traces"
            )
        first, last = int(chosen[0]), int(chosen[-1])
        are_together = last - first + 1 == len(chosen)
        return self.rows(slice(first, last + 1) if are_together else chosen)

    def at_most(self, num_rows: int, seed: int = 0) -> Self:
        """So many of the rows, drawn evenly; all where there are no more."""
        if len(self) <= num_rows:
            return self
        drawn = np.random.default_rng(seed).choice(len(self), num_rows, replace=False)
        return self.rows(np.sort(drawn))

    def with_outcomes_shuffled(self, seed: int) -> Self:
        """The same features against the outcomes of other rows: a control that cannot learn."""
        order = np.random.default_rng(seed).permutation(len(self))
        moved = {name: getattr(self, name)[order] for name in self.__slots__ if name != "features"}
        return type(self)(features=self.features, **moved)


def _features(rows: Columns) -> NDArray[np.float32]:
    """Block by block, as the vectors are some times larger before they are float32."""
    features = np.empty((len(rows), NUM_FEATURES), dtype=np.float32)
    for begin in range(0, len(rows), _BLOCK_ROWS):
        offsets = rows.offsets[begin : begin + _BLOCK_ROWS + 1]
        try:
            features[begin : begin + _BLOCK_ROWS] = vectorize_rows(rows.values, offsets)
        except ValueError as error:
            raise DatasetError(str(error)) from error
    return features
