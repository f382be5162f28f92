"""Training: fit the model, choose its regularisation and calibrate it on the validation rows.

`python -m classifier train` calls it. The test rows are never looked at here.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from classifier.dataset import Dataset
from classifier.errors import DatasetError
from classifier.evaluate import log_loss
from classifier.hazards import HazardModel, Report, fit, fit_each
from classifier.lexical import LEXICAL_NAMES
from classifier.recalibration import Recalibration

REGULARISATIONS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Values of C that are tried, see regression.py."""

MIN_TRAINING_ROWS: Final = 300
MAX_CHOOSING_ROWS: Final = 10_000
"""C is chosen, and the model calibrated, on so many rows: as the strength of a prior C means the
same for more."""

_NUM_CONTROLS: Final = 3
_SHUFFLE_SEED: Final = 1

Advance = Callable[[int], object]
"""Told of rows that have been fitted, each as often as it was."""


def _ignore(num_rows: int) -> None:
    del num_rows


def num_fitted_rows(data: Dataset) -> int:
    """Of how many rows `train` and `train_controls` tell together; it is what takes their time.

    Raises DatasetError where there is nothing to train on.
    """
    num_rows = len(data.split("train"))
    num_chosen = min(num_rows, MAX_CHOOSING_ROWS)
    again = num_rows if num_rows > MAX_CHOOSING_ROWS else 0
    return (len(REGULARISATIONS) + _NUM_CONTROLS) * num_chosen + again


def train(data: Dataset, report: Report, advance: Advance = _ignore) -> HazardModel:
    """Fit on split train with the C that predicts split validation best, on which it is then
    calibrated.

    Raises DatasetError when there is too little to learn from.
    """
    training, validation = data.split("train"), data.split("validation")
    if len(training) < MIN_TRAINING_ROWS:
        raise DatasetError(
            f"{len(training)} rows to train on, at least {MIN_TRAINING_ROWS} are needed: "
            "collect more traces"
        )
    held_out = validation.at_most(MAX_CHOOSING_ROWS)
    model = _best(training.at_most(MAX_CHOOSING_ROWS), held_out, report, advance)
    if len(training) > MAX_CHOOSING_ROWS:
        report(f"fitting {len(training)} rows with C {model.regularisation:g}")
        model = fit(training, regularisation=model.regularisation)
        advance(len(training))
    return _calibrated(model, held_out, report)


def _calibrated(model: HazardModel, held_out: Dataset, report: Report) -> HazardModel:
    found = Recalibration.fit(model.hazards(held_out.features), held_out)
    report(
        f"calibrated on {len(held_out)} rows: logits times {found.slope:.3f}, {found.offset:+.3f}"
    )
    return found.apply(model)


def _best(training: Dataset, judging: Dataset, report: Report, advance: Advance) -> HazardModel:
    candidates = []
    for model in fit_each(training, REGULARISATIONS):
        loss = log_loss(model.hazards(judging.features), judging)
        report(f"C {model.regularisation:g}: validation log-loss {loss:.4f}")
        candidates.append((loss, model.regularisation, model))
        advance(len(training))
    return min(candidates, key=lambda candidate: candidate[:2])[2]


def train_controls(
    data: Dataset, regularisation: float, report: Report, advance: Advance = _ignore
) -> dict[str, HazardModel]:
    """What any table shows beside the classifier, fitted on the same rows, or some of them.

    constant: one curve for all; length only: the number of bytes of the prompt; shuffled labels:
    every feature, but the outcomes of other rows.
    """
    training = data.split("train").at_most(MAX_CHOOSING_ROWS)
    report("controls: constant, length only, shuffled labels")
    nothing = np.array([], dtype=np.int64)
    length = np.array([LEXICAL_NAMES.index("log_bytes")])
    shuffled = training.with_outcomes_shuffled(_SHUFFLE_SEED)
    seen = {
        "constant": (training, nothing),
        "length only": (training, length),
        "shuffled labels": (shuffled, None),
    }
    controls = {}
    for name, (rows, columns) in seen.items():
        controls[name] = fit(rows, regularisation=regularisation, columns=columns)
        advance(len(rows))
    return controls
