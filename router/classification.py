"""What the classifier says about a prompt. Without it the policy takes the default tier."""

import importlib.resources
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.errors import ClassifierError
from classifier.predictor import DifficultyClassifier
from ponder.environment import ConfigError
from router.decisions import Classification

_log = logging.getLogger(__name__)


class Classifier(Protocol):
    """What the router needs of classifier.predictor.DifficultyClassifier."""

    @property
    def version(self) -> str: ...

    def features(self, prompt: str) -> tuple[int, ...]: ...

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]: ...


class Classifying:
    """Runs the classifier and fails open: a fault costs the prediction, never the request."""

    def __init__(self, classifier: Classifier | None) -> None:
        """Without a classifier nothing is predicted."""
        self._classifier = classifier

    def classify(self, text: str) -> Classification | None:
        """None when there is no classifier or it failed.

        Blocks for 0.1 ms on a short prompt: half of what a thread would take. The classifier reads
        a bounded part of a long one.
        """
        if self._classifier is None:
            return None
        try:
            return _classify(self._classifier, text)
        except ClassifierError as error:
            _log.warning("the classifier failed: %s", error)
            return None


def load_classifier(configured_path: str) -> Classifier | None:
    """The configured classifier, or the shipped one. None, with a warning, when there is no file.

    Raises ConfigError when there is a file and it cannot be trusted.
    """
    path = Path(configured_path) if configured_path else _shipped_classifier()
    if not path.exists():
        _log.warning("no classifier at %s: every automatic request gets the default tier", path)
        return None
    try:
        return DifficultyClassifier.load(path)
    except ClassifierError as error:
        raise ConfigError(f"ROUTER_CLASSIFIER: {error}") from error


def _classify(classifier: Classifier, text: str) -> Classification:
    features = classifier.features(text)
    return Classification(
        hazards=classifier.predict_features(features).astype(np.float64),
        features=features,
        version=classifier.version,
    )


def _shipped_classifier() -> Path:
    return Path(str(importlib.resources.files("classifier"))) / "reference" / "difficulty.onnx"
