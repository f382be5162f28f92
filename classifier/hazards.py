"""The hazard model: for each bin of the need, will a request that reached it stop in it?

One logistic regression per bin, fitted on the rows at risk there (continuation ratio), all together
by regression.py; export.py turns them into the graph that is served.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from classifier.dataset import Dataset
from classifier.features import NUM_FEATURES, NUM_LEXICAL
from classifier.metadata import BinFit
from classifier.regression import HazardRegression
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

MAX_DEVIATIONS: Final = 4.0
"""Lexical features are clipped this far from their mean: a strange prompt must not run off."""

MIN_OUTCOMES: Final = 20
"""Events, and survivors, that a bin needs for a regression. With fewer its hazard is one number:
the share of events, drawn towards a guess by the weight of one row."""

_BLOCK_ROWS: Final = 5_000

Report = Callable[[str], None]
Floats = NDArray[np.floating]
Counts = NDArray[np.floating] | NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Centre and spread of each feature (NUM_FEATURES,). The hashed ones have a scale already."""

    center: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.float32], weights: Floats | None = None) -> Self:
        """From the lexical columns of the training rows; one that never varies is only centred."""
        center = np.zeros(NUM_FEATURES, dtype=np.float32)
        spread = np.ones(NUM_FEATURES, dtype=np.float32)
        lexical = features[:, :NUM_LEXICAL].astype(np.float64)
        center[:NUM_LEXICAL] = mean = np.average(lexical, axis=0, weights=weights)
        deviations = np.average((lexical - mean) ** 2, axis=0, weights=weights) ** 0.5
        spread[:NUM_LEXICAL] = np.where(deviations > 1e-6, deviations, 1.0)
        return cls(center, spread)

    def apply_to_columns(
        self, features: NDArray[np.float32], columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Some columns of `apply`, block by block to save memory."""
        scaled = np.empty((len(features), len(columns)), dtype=np.float32)
        for begin in range(0, len(features), _BLOCK_ROWS):
            rows = slice(begin, begin + _BLOCK_ROWS)
            scaled[rows] = self.apply(features[rows])[:, columns]
        return scaled

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same float32 operations as the exported graph."""
        scaled = features - self.center
        scaled /= self.spread
        return np.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS, out=scaled)


@dataclass(frozen=True, slots=True)
class HazardModel:
    """A regression per bin; `columns` are the features they look at.

    `weights` (number of columns, NUM_NEED_BINS) and `intercepts` (NUM_NEED_BINS,) are of the
    logits; a bin whose hazard is one number has no weights. `bounds`: lowest and highest hazard of
    each bin, (NUM_NEED_BINS,) both; None: any from 0 to 1.
    """

    scaling: Scaling
    columns: NDArray[np.int64]
    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    fits: tuple[BinFit, ...]
    regularisation: float
    bounds: tuple[Floats, Floats] | None = None

    def hazards(self, features: NDArray[np.float32]) -> Floats:
        """Hazards (num_rows, NUM_NEED_BINS), in double precision."""
        starts = range(0, len(features), _BLOCK_ROWS)
        blocks = [self._hazards(features[begin : begin + _BLOCK_ROWS]) for begin in starts]
        return np.concatenate(blocks) if blocks else np.empty((0, NUM_NEED_BINS))

    def _hazards(self, features: NDArray[np.float32]) -> Floats:
        scaled = self.scaling.apply(features)[:, self.columns].astype(np.float64)
        hazards: Floats = expit(scaled @ self.weights + self.intercepts)
        return hazards if self.bounds is None else np.clip(hazards, *self.bounds)

    def parameters(self) -> tuple[Floats, Floats]:
        """Weights (NUM_FEATURES, NUM_NEED_BINS) and intercepts (NUM_NEED_BINS,) of the logits."""
        weights = np.zeros((NUM_FEATURES, NUM_NEED_BINS))
        weights[self.columns] = self.weights
        return weights, self.intercepts


def fit(
    data: Dataset, *, regularisation: float, columns: NDArray[np.int64] | None = None
) -> HazardModel:
    """Fit every bin. `regularisation` is C, see regression.py: smaller means a flatter model.

    Columns that never vary in the data are left out; with none left, every hazard is a constant.
    """
    return next(fit_each(data, [regularisation], columns))


def fit_each(
    data: Dataset, regularisations: Sequence[float], columns: NDArray[np.int64] | None = None
) -> Iterator[HazardModel]:
    """One model for each C, begun from the one before."""
    scaling = Scaling.of(data.features, data.weights)
    candidates = np.arange(NUM_FEATURES) if columns is None else columns
    used = candidates[np.ptp(data.features, axis=0)[candidates] > 0]
    fits = tuple(_bin_fits(data, has_features=len(used) > 0))
    fitted = np.flatnonzero([bin_fit.fitted for bin_fit in fits])
    row_weights = data.weights[:, np.newaxis]
    events, at_risk = data.events * row_weights, data.at_risk * row_weights
    intercepts = logit(_constant_hazards(events.sum(axis=0), at_risk.sum(axis=0)))
    scaled = scaling.apply_to_columns(data.features, used)
    solve = HazardRegression(scaled, events[:, fitted], at_risk[:, fitted]).solve
    start = None
    for regularisation in regularisations:
        start = solve(regularisation, start)
        weights = np.zeros((len(used), NUM_NEED_BINS))
        weights[:, fitted] = start.weights
        intercepts[fitted] = start.intercepts
        yield HazardModel(scaling, used, weights, intercepts.copy(), fits, regularisation)


def _bin_fits(data: Dataset, *, has_features: bool) -> Iterator[BinFit]:
    counts = data.events.sum(axis=0), data.at_risk.sum(axis=0)
    for events, at_risk in zip(*(column.tolist() for column in counts), strict=True):
        enough = min(events, at_risk - events) >= MIN_OUTCOMES
        yield BinFit(events=events, at_risk=at_risk, fitted=has_features and enough)


def _constant_hazards(events: Floats, at_risk: Floats) -> Floats:
    """Of the bins without a regression, (NUM_NEED_BINS,)."""
    hazards: Floats = (events + guessed_hazards(events, at_risk)) / (at_risk + 1.0)
    return hazards


def guessed_hazards(events: Counts, at_risk: Counts) -> list[float]:
    """What each bin's hazard is likely to be, from the counts (NUM_NEED_BINS,) of those before it.

    The first is guessed at the mean of all. From there the guess follows the observed hazards, of
    which MIN_OUTCOMES rows weigh as much as the guess, for the width of the next bin in log tokens:
    a bin that nobody was at risk in, as those above the largest budget, goes on like the last ones
    that were seen. Source of the scaling: a hazard rate that is constant in log tokens.
    """
    widths = np.diff(np.log([1, *NEED_BIN_EDGES]))
    guesses = [float((events.sum() + 0.5) / (at_risk.sum() + 1.0))]
    for index in range(NUM_NEED_BINS - 1):
        seen = events[index] + MIN_OUTCOMES * guesses[-1]
        survival = 1.0 - seen / (at_risk[index] + MIN_OUTCOMES)
        guesses.append(float(1.0 - survival ** (widths[index + 1] / widths[index])))
    return guesses
