"""Training: choose the regularisation on the validation rows, fit the model and its controls.

`python -m classifier train` calls it. The test rows are never looked at here.
"""

from typing import Final

import numpy as np

from classifier.dataset import Dataset
from classifier.errors import DatasetError
from classifier.evaluate import log_loss
from classifier.hazards import HazardModel, Report, fit
from classifier.lexical import LEXICAL_NAMES

REGULARISATIONS: Final = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Values of scikit-learn's C that are tried."""

MIN_TRAINING_ROWS: Final = 300

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
    candidates = []
    for regularisation in REGULARISATIONS:
        model = fit(training, regularisation=regularisation)
        loss = log_loss(model.hazards(validation.features), validation)
        report(f"C {regularisation:g}: validation log-loss {loss:.4f}")
        candidates.append((loss, regularisation, model))
    return min(candidates, key=lambda candidate: candidate[:2])[2]


def train_controls(data: Dataset, regularisation: float, report: Report) -> dict[str, HazardModel]:
    """What any table shows beside the classifier, fitted on the same rows.

    constant: one curve for all; length only: the number of bytes of the prompt; shuffled labels:
    every feature, but the outcomes of other rows.
    """
    training = data.split("train")
    report("controls: constant, length only, shuffled labels")
    nothing = np.array([], dtype=np.int64)
    length = np.array([LEXICAL_NAMES.index("log_bytes")])
    shuffled = training.with_outcomes_shuffled(_SHUFFLE_SEED)
    return {
        "constant": fit(training, regularisation=regularisation, columns=nothing),
        "length only": fit(training, regularisation=regularisation, columns=length),
        "shuffled labels": fit(shuffled, regularisation=regularisation),
    }
