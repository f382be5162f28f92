"""Training: choose the regularisation on the validation rows, fit the model and its controls.

`python -m classifier train` calls it. The test rows are never looked at here.
"""

from typing import Final

import numpy as np

from classifier.dataset import Dataset
from classifier.errors import DatasetError
from classifier.evaluate import log_loss
from classifier.hazards import HazardModel, Report, fit, fit_each
from classifier.lexical import LEXICAL_NAMES

REGULARISATIONS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Values of C that are tried, see regression.py."""

MIN_TRAINING_ROWS: Final = 300
MAX_CHOOSING_ROWS: Final = 10_000
"""C is chosen on so many rows: as the strength of a prior it means the same for more."""

_SHUFFLE_SEED: Final = 1


def train(data: Dataset, report: Report) -> HazardModel:
    """Fit on split train with the C that predicts split validation best.

    Raises DatasetError when there is too little to learn from.
    """
    training, validation = data.split("train"), data.split("validation")
    if len(training) < MIN_TRAINING_ROWS:
        raise DatasetError(
            f"{len(training)} rows to train on, at least {MIN_TRAINING_ROWS} are needed: "
            "collect more traces"
        )
    chosen = _best(training.at_most(MAX_CHOOSING_ROWS), validation, report)
    if len(training) <= MAX_CHOOSING_ROWS:
        return chosen
    report(f"fitting {len(training)} rows with C {chosen.regularisation:g}")
    return fit(training, regularisation=chosen.regularisation)


def _best(training: Dataset, validation: Dataset, report: Report) -> HazardModel:
    judging = validation.at_most(MAX_CHOOSING_ROWS)
    candidates = []
    for model in fit_each(training, REGULARISATIONS):
        loss = log_loss(model.hazards(judging.features), judging)
        report(f"C {model.regularisation:g}: validation log-loss {loss:.4f}")
        candidates.append((loss, model.regularisation, model))
    return min(candidates, key=lambda candidate: candidate[:2])[2]


def train_controls(data: Dataset, regularisation: float, report: Report) -> dict[str, HazardModel]:
    """What any table shows beside the classifier, fitted on the same rows, or some of them.

    constant: one curve for all; length only: the number of bytes of the prompt; shuffled labels:
    every feature, but the outcomes of other rows.
    """
    training = data.split("train").at_most(MAX_CHOOSING_ROWS)
    report("controls: constant, length only, shuffled labels")
    nothing = np.array([], dtype=np.int64)
    length = np.array([LEXICAL_NAMES.index("log_bytes")])
    shuffled = training.with_outcomes_shuffled(_SHUFFLE_SEED)
    return {
        "constant": fit(training, regularisation=regularisation, columns=nothing),
        "length only": fit(training, regularisation=regularisation, columns=length),
        "shuffled labels": fit(shuffled, regularisation=regularisation),
    }
