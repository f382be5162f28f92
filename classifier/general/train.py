"""Fits the hazard model to soft labels: the same regressions as for traces, on shares of requests.

A row goes into the regression of a bin twice, as one that stopped there and as one that did not,
weighted by its shares; that is the likelihood of the label's distribution. Every source weighs as
much as the root of its rows, so that a large one does not decide what all prompts look like, and
every tier, and the outcomes, weigh alike, so that what is collected most is not expected most.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from classifier.features import NUM_FEATURES
from classifier.general.collected import Collection
from classifier.general.labels import SoftLabels, hazard_bounds
from classifier.general.prompts import generate
from classifier.hazards import HazardModel, Scaling
from classifier.metadata import BinFit
from classifier.survival import Floats
from ponder.bins import NUM_NEED_BINS

REGULARISATION: Final = 1.0
"""scikit-learn's C."""

NUM_GENERATED: Final = 5000
GENERATOR_SEED: Final = 1
_MAX_ITERATIONS: Final = 300
_TOLERANCE: Final = 1e-3


def with_generated(data: Collection) -> Collection:
    """The collected prompts and those that fill their gaps."""
    return data + Collection.of_generated(generate(NUM_GENERATED, GENERATOR_SEED))


def fit(
    data: Collection,
    regularisation: float = REGULARISATION,
    columns: NDArray[np.int64] | None = None,
) -> HazardModel:
    """One regression per bin on the columns, default all. Equal data give an equal model."""
    scaling = Scaling.of(data.features)
    used = np.arange(NUM_FEATURES) if columns is None else columns
    rows = sparse.csr_matrix(scaling.apply(data.features)[:, used].astype(np.float64))
    labels = data.labels()
    return HazardModel(
        scaling=scaling,
        columns=used,
        bins=tuple(_fit_bins(rows, labels, row_weights(data), regularisation)),
        fits=tuple(map(_describe, labels.events.T, labels.at_risk.T)),
        regularisation=regularisation,
        bounds=hazard_bounds(),
    )


def _fit_bins(
    rows: sparse.csr_matrix, labels: SoftLabels, weights: Floats, regularisation: float
) -> Iterator[LogisticRegression]:
    twice = sparse.vstack([rows, rows], format="csr")
    stopped = np.repeat([1, 0], rows.shape[0])
    shares = np.concatenate([labels.events, labels.at_risk - labels.events])
    shares = np.maximum(shares * np.tile(weights, 2)[:, np.newaxis], 0.0)
    for index in range(NUM_NEED_BINS):
        model = LogisticRegression(C=regularisation, max_iter=_MAX_ITERATIONS, tol=_TOLERANCE)
        yield model.fit(twice, stopped, sample_weight=shares[:, index])


def row_weights(data: Collection) -> Floats:
    """Mean 1 over the rows."""
    _, source, counts = np.unique(data.sources, return_inverse=True, return_counts=True)
    weights = counts[source] ** -0.5
    for tier in np.unique(data.tiers):
        weights[data.tiers == tier] /= weights[data.tiers == tier].sum()
    scaled: Floats = weights / weights.mean()
    return scaled


def _describe(events: Floats, at_risk: Floats) -> BinFit:
    return BinFit(events=round(events.sum()), at_risk=round(at_risk.sum()), fitted=True)
