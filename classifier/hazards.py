"""The hazard model: for each bin of the need, will a request that reached it stop in it?

One logistic regression per bin, fitted on the rows at risk there (continuation ratio). Trained by
scikit-learn; export.py turns it into the graph that is served.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from classifier.dataset import Dataset
from classifier.features import NUM_FEATURES, NUM_LEXICAL
from classifier.metadata import BinFit
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

MAX_DEVIATIONS: Final = 4.0
"""Lexical features are clipped this far from their mean: a strange prompt must not run off."""

MIN_OUTCOMES: Final = 20
"""Events, and survivors, that a bin needs for a regression. With fewer its hazard is one number:
the share of events, drawn towards a guess by the weight of one row."""

Report = Callable[[str], None]
Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Centre and spread of each feature (NUM_FEATURES,). The hashed ones have a scale already."""

    center: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Self:
        """From the lexical columns of the training rows; one that never varies is only centred."""
        center = np.zeros(NUM_FEATURES, dtype=np.float32)
        spread = np.ones(NUM_FEATURES, dtype=np.float32)
        lexical = features[:, :NUM_LEXICAL].astype(np.float64)
        center[:NUM_LEXICAL] = lexical.mean(axis=0)
        deviations = lexical.std(axis=0)
        spread[:NUM_LEXICAL] = np.where(deviations > 1e-6, deviations, 1.0)
        return cls(center, spread)

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same float32 operations as the exported graph."""
        scaled = (features - self.center) / self.spread
        clipped: NDArray[np.float32] = np.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return clipped


@dataclass(frozen=True, slots=True)
class HazardModel:
    """A regression, or a constant hazard, per bin; `columns` are the features they look at.

    `bounds`: lowest and highest hazard of each bin, (NUM_NEED_BINS,) both; None: any from 0 to 1.
    """

    scaling: Scaling
    columns: NDArray[np.int64]
    bins: tuple[Any, ...]  # LogisticRegression | float
    fits: tuple[BinFit, ...]
    regularisation: float
    bounds: tuple[Floats, Floats] | None = None

    def hazards(self, features: NDArray[np.float32]) -> Floats:
        """Hazards (num_rows, NUM_NEED_BINS) as scikit-learn computes them."""
        scaled = self.scaling.apply(features)[:, self.columns]
        hazards = np.stack([_hazard(model, scaled) for model in self.bins], axis=1)
        return hazards if self.bounds is None else np.clip(hazards, *self.bounds)

    def parameters(self) -> tuple[Floats, Floats]:
        """Weights (NUM_FEATURES, NUM_NEED_BINS) and intercepts (NUM_NEED_BINS,) of the logits."""
        weights = np.zeros((NUM_FEATURES, NUM_NEED_BINS))
        intercepts = np.zeros(NUM_NEED_BINS)
        for index, model in enumerate(self.bins):
            if isinstance(model, float):
                intercepts[index] = np.log(model / (1.0 - model))
            else:
                weights[self.columns, index] = model.coef_[0]
                intercepts[index] = model.intercept_[0]
        return weights, intercepts


def fit(
    data: Dataset, *, regularisation: float, columns: NDArray[np.int64] | None = None
) -> HazardModel:
    """Fit every bin. `regularisation` is scikit-learn's C: smaller means a flatter model.

    Columns that never vary in the data are left out; with none left, every hazard is a constant.
    """
    scaling = Scaling.of(data.features)
    scaled = scaling.apply(data.features)
    candidates = np.arange(NUM_FEATURES) if columns is None else columns
    used = candidates[np.ptp(scaled[:, candidates], axis=0) > 0]
    scaled = scaled[:, used]
    guesses = guessed_hazards(data.events.sum(axis=0), data.at_risk.sum(axis=0))
    models = [_fit_bin(data, scaled, k, regularisation, guesses[k]) for k in range(NUM_NEED_BINS)]
    return HazardModel(
        scaling=scaling,
        columns=used,
        bins=tuple(models),
        fits=tuple(_describe(data, index, model) for index, model in enumerate(models)),
        regularisation=regularisation,
    )


def _fit_bin(
    data: Dataset, scaled: NDArray[np.float32], index: int, regularisation: float, guess: float
) -> LogisticRegression | float:
    at_risk = data.at_risk[:, index]
    outcomes = data.events[at_risk, index]
    events = int(outcomes.sum())
    if min(events, len(outcomes) - events) < MIN_OUTCOMES or scaled.shape[1] == 0:
        return (events + guess) / (len(outcomes) + 1.0)
    model = LogisticRegression(C=regularisation, max_iter=5000)
    return model.fit(scaled[at_risk].astype(np.float64), outcomes.astype(np.int64))


def guessed_hazards(events: NDArray[np.int64], at_risk: NDArray[np.int64]) -> list[float]:
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


def _describe(data: Dataset, index: int, model: LogisticRegression | float) -> BinFit:
    return BinFit(
        events=int(data.events[:, index].sum()),
        at_risk=int(data.at_risk[:, index].sum()),
        fitted=not isinstance(model, float),
    )


def _hazard(model: LogisticRegression | float, scaled: NDArray[np.float32]) -> Floats:
    if isinstance(model, float):
        return np.full(len(scaled), model)
    probabilities: Floats = model.predict_proba(scaled.astype(np.float64))[:, 1]
    return probabilities
