"""What the classifier says about a prompt. Without it the policy takes the default tier."""

import importlib.resources
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.errors import ClassifierError
from classifier.predictor import DifficultyClassifier
from ponder.environment import ConfigError
from router.decisions import Classification
from router.telemetry import Source

_log = logging.getLogger(__name__)
FILE_NAME: Final = "difficulty.onnx"


class Classifier(Protocol):
    """What the router needs of classifier.predictor.DifficultyClassifier."""

    @property
    def version(self) -> str: ...

    def features(self, prompt: str) -> tuple[int, ...]: ...

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifiers:
    """Which one predicts for which model.

    `own` are those trained on a model's traces, by its name. `general` is for all other models: it
    knows how hard people find a prompt, and no model. `chosen` is for all models, when a file was
    configured.
    """

    own: Mapping[str, Classifier] = field(default_factory=dict)
    general: Classifier | None = None
    chosen: Classifier | None = None

    def of(self, model: str) -> Classifier | None:
        """None: nothing can be predicted."""
        return self.chosen or self.own.get(model, self.general)


class Classifying:
    """Runs the classifier and fails open: a fault costs the prediction, never the request."""

    def __init__(self, classifiers: Classifiers) -> None:
        """Without classifiers nothing is predicted."""
        self._classifiers = classifiers

    def is_cold(self, model: str) -> bool:
        """Whether only the general classifier predicts for this model."""
        classifier = self._classifiers.of(model)
        return classifier is not None and classifier is self._classifiers.general

    def versions(self, model: str) -> tuple[str, ...]:
        """Of every classifier that may predict for this model now."""
        classifier = self._classifiers.of(model)
        return (classifier.version,) if classifier else ()

    def source(self, model: str) -> Source:
        """Whose prediction this model's requests get, if it succeeds."""
        classifiers = self._classifiers
        if classifiers.chosen is not None:
            return Source.CHOSEN
        if model in classifiers.own:
            return Source.OWN
        return Source.NONE if classifiers.general is None else Source.GENERAL

    def classify(self, text: str, model: str) -> Classification | None:
        """None when there is no classifier or it failed.

        Blocks for 0.1 ms on a short prompt: half of what a thread would take. The classifier reads
        a bounded part of a long one.
        """
        classifier = self._classifiers.of(model)
        if classifier is None:
            return None
        try:
            return _classify(classifier, text)
        except ClassifierError as error:
            _log.warning("the classifier failed: %s", error)
            return None


def load_classifiers(configured_path: str) -> Classifiers:
    """The configured classifier for every model, or those that are shipped: the reference model's
    own, and the general one. Without the configured file none, with a warning.

    Raises ConfigError when there is a file and it cannot be trusted.
    """
    if configured_path:
        return Classifiers(chosen=_load(Path(configured_path)))
    shipped = Path(str(importlib.resources.files("classifier")))
    reference = _load(shipped / "reference" / FILE_NAME)
    return Classifiers(
        own={reference.model: reference} if reference else {},
        general=_load(shipped / "general" / FILE_NAME),
    )


def _load(path: Path) -> DifficultyClassifier | None:
    if not path.exists():
        _log.warning("no classifier at %s: automatic requests get the default tier", path)
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
