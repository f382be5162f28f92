"""Fits the hazard model to soft labels: the same regressions as for traces, on shares of requests.

A row counts in the regression of a bin with the shares that stopped there and that did not, which
is the likelihood of the label's distribution. Every source weighs as
much as the root of its rows, so that a large one does not decide what all prompts look like, and
every tier, and the outcomes, weigh alike, so that what is collected most is not expected most.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.features import NUM_FEATURES
from classifier.general.collected import Collection
from classifier.general.labels import hazard_bounds
from classifier.general.prompts import generate
from classifier.hazards import HazardModel, Scaling
from classifier.metadata import BinFit
from classifier.regression import HazardRegression
from classifier.survival import Floats

REGULARISATION: Final = 3.0
"""C, see regression.py."""

NUM_GENERATED: Final = 5000
GENERATOR_SEED: Final = 1


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
    labels, weights = data.labels(), row_weights(data)[:, np.newaxis]
    regression = HazardRegression(
        scaling.apply_to_columns(data.features, used),
        labels.events * weights,
        labels.at_risk * weights,
    )
    found = regression.solve(regularisation)
    return HazardModel(
        scaling=scaling,
        columns=used,
        weights=found.weights,
        intercepts=found.intercepts,
        fits=tuple(map(_describe, labels.events.T, labels.at_risk.T)),
        regularisation=regularisation,
        bounds=hazard_bounds(),
    )


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
