"""Calibration on rows held out: one slope and one offset for the logits of all hazards.

    logit h'(k) = slope * logit h(k) + offset

Both are folded into the coefficients, so the exported graph is as it was. They minimise the
likelihood of the hazards on the rows at risk, each bin of a row weighted by 1 / the chance that the
logs would tell about its edge, see following.py: bins that only a few large budgets reached count
as if every request had been let reach them. Weights are scaled by sum w / sum w^2, so that they add
up to as many bins as they are worth, and a prior draws both towards no change.

Sources: J. Platt (1999), "Probabilistic Outputs for Support Vector Machines"; of the weights,
Robins and Finkelstein (2000), "Correcting for Noncompliance and Dependent Censoring in an AIDS
Clinical Trial"; of their scale, Kish (1965), "Survey Sampling".
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from classifier.dataset import Dataset
from classifier.following import Following
from classifier.hazards import HazardModel
from classifier.survival import Floats
from ponder.bins import NEED_BIN_EDGES

PRIOR_DEVIATION: Final = 0.1
"""Standard deviation of the log of the slope, and of the offset. Chosen among 0.1, 0.2, 0.3 and no
prior on the traces of the reference model, whole and with a quarter cut: with 700 rows to calibrate
on, wider ones bring more noise into the coverage than they take bias out."""

_SMALLEST_HAZARD: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Recalibration:
    """`slope` is above 0."""

    slope: float
    offset: float

    @classmethod
    def fit(cls, hazards: Floats, data: Dataset) -> Self:
        """For hazards (num_rows, NUM_NEED_BINS) that the rows of `data` did not train."""
        logits = logit(np.clip(hazards, _SMALLEST_HAZARD, 1.0 - _SMALLEST_HAZARD))
        weights = bin_weights(data)

        def objective(point: Floats) -> tuple[float, Floats]:
            slope, offset = np.exp(point[0]), point[1]
            moved = slope * logits + offset
            loss = (weights * (np.logaddexp(0.0, moved) - data.events * moved)).sum()
            errors = weights * (expit(moved) - data.events)
            gradient = np.array([slope * (errors * logits).sum(), errors.sum()])
            prior = point / PRIOR_DEVIATION**2
            return float(loss + 0.5 * point @ prior), gradient + prior

        found = minimize(objective, np.zeros(2), jac=True, method="L-BFGS-B")
        return cls(slope=float(np.exp(found.x[0])), offset=float(found.x[1]))

    def apply(self, model: HazardModel) -> HazardModel:
        """The same model with other coefficients."""
        return replace(
            model,
            weights=self.slope * model.weights,
            intercepts=self.slope * model.intercepts + self.offset,
        )


def bin_weights(data: Dataset) -> Floats:
    """What each bin of each row counts, (num_rows, NUM_NEED_BINS); 0 where it was not at risk, or
    where the logs could not tell.
    """
    following = Following.of(data)
    answers = [following.answers(edge).weights for edge in NEED_BIN_EDGES]
    weights = np.stack(answers, axis=1) * data.at_risk * data.weights[:, np.newaxis]
    squares = (weights**2).sum()
    scaled: Floats = weights * (weights.sum() / squares) if squares else weights
    return scaled
