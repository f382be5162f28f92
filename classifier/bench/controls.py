"""What predicts the tiers of unseen sources: the general classifier, and what it has to beat."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from classifier.bench.agreement import Predicted
from classifier.errors import DatasetError
from classifier.general.collected import TIERS, Collection
from classifier.general.train import fit, row_weights
from classifier.hazards import HazardModel
from classifier.lexical import LEXICAL_NAMES
from classifier.survival import (
    COLD_COVERAGE,
    Floats,
    median_need,
    smallest_sufficient_tier,
    survival_of,
)

Predictor = Callable[[Collection, Collection], Predicted]
"""Learns from the first, predicts the second."""

GENERAL: Final = "general"
LENGTH: Final = "length"
_PEER_SCRIPT: Final = Path(__file__).with_name("peer_routers.py")
_PEER_TIMEOUT_S: Final = 600


def general(training: Collection, test: Collection) -> Predicted:
    """The shipped recipe: which tier the router would begin with, and the median need."""
    return read(fit(training).hazards(test.features))


def length(training: Collection, test: Collection) -> Predicted:
    """The same labels and regressions, that see the number of bytes only; ranks by it."""
    column = LEXICAL_NAMES.index("log_bytes")
    model = fit(training, columns=np.array([column]))
    return Predicted(_tiers(model, test), test.features[:, column].astype(np.float64))


def constant(training: Collection, test: Collection) -> Predicted:
    """The tier of the mean curve, for every prompt."""
    labels, weights = training.labels(), row_weights(training)[:, np.newaxis]
    hazards = (labels.events * weights).sum(axis=0) / (labels.at_risk * weights).sum(axis=0)
    return read(np.tile(hazards, (len(test), 1)))


def tf_idf(training: Collection, test: Collection) -> Predicted:
    """Words and word pairs, and a logistic regression on the tiers."""
    known = training.rows(training.has_tier)
    words = TfidfVectorizer(
        lowercase=True, ngram_range=(1, 2), min_df=2, max_features=30_000, sublinear_tf=True
    )
    model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=500))
    weights = {"logisticregression__sample_weight": row_weights(known)}
    shares = model.fit(known.prompts, known.tiers, **weights).predict_proba(test.prompts)
    return Predicted(model.classes_[shares.argmax(axis=1)], shares @ model.classes_)


def read(hazards: Floats) -> Predicted:
    """What the router does with a curve of the general classifier."""
    survival = survival_of(hazards)
    tiers = smallest_sufficient_tier(survival, COLD_COVERAGE)
    return Predicted(tiers, np.minimum(median_need(survival), 1e9))


def trained() -> dict[str, Predictor]:
    """Those that learn, the general classifier first."""
    return {GENERAL: general, LENGTH: length, "TF-IDF": tf_idf, "constant": constant}


def keyword_routers(python: Path, data: Collection) -> dict[str, Predictor]:
    """The keyword routers of the packages thinkbudget and litellm, which learn nothing.

    `python` is an interpreter that has them. Raises DatasetError when it fails.
    """
    try:
        done = subprocess.run(
            [str(python), str(_PEER_SCRIPT)],
            input=json.dumps(data.prompts.tolist()),
            capture_output=True,
            text=True,
            timeout=_PEER_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise DatasetError(f"--peers {python}: {str(reason).strip().splitlines()[-1]}") from error
    answers: dict[str, list[tuple[int, float]]] = json.loads(done.stdout.splitlines()[-1])
    return {
        name: _looked_up(dict(zip(data.prompts, rows, strict=True)))
        for name, rows in answers.items()
    }


def _looked_up(answers: Mapping[str, tuple[int, float]]) -> Predictor:
    def predict(training: Collection, test: Collection) -> Predicted:
        del training
        tiers, scores = zip(*(answers[prompt] for prompt in test.prompts), strict=True)
        return Predicted(np.minimum(tiers, len(TIERS) - 1), np.array(scores))

    return predict


def _tiers(model: HazardModel, test: Collection) -> "np.typing.NDArray[np.int64]":
    return read(model.hazards(test.features)).tiers
