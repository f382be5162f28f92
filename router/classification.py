"""What the classifier says about a prompt. Without it the policy takes the default tier."""

import importlib.resources
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from classifier.errors import ClassifierError
from classifier.predictor import DifficultyClassifier
from ponder.environment import ConfigError
from router.decisions import Classification
from router.serving import Classifier, Serving
from router.telemetry import Source

_log = logging.getLogger(__name__)
FILE_NAME: Final = "difficulty.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifiers:
    """Which one predicts for which model, as long as no version was rolled out for it.

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
    """Runs the classifiers and fails open: a fault costs the prediction, never the request."""

    def __init__(self, files: Classifiers) -> None:
        """Where nothing is rolled out, `files` predict; without them nothing is predicted."""
        self._files = files
        self._rolled_out: dict[str, Serving] = {}

    def serving(self, model: str) -> Serving:
        """What classifies for the model now."""
        return self._rolled_out.get(model) or Serving(champion=self._files.of(model))

    def of_files(self, model: str) -> Classifier | None:
        """What the router was started with for this model."""
        return self._files.of(model)

    def serve(self, model: str, serving: Serving) -> None:
        """From the next request on; those that were classified keep what they have."""
        self._rolled_out[model] = serving

    def versions(self, model: str) -> tuple[str, ...]:
        """Of every classifier that may decide for this model now."""
        return self.serving(model).versions

    def is_cold(self, model: str, request_id: str) -> bool:
        """Whether only the general classifier predicts for this request."""
        classifier = self.serving(model).deciding(request_id)
        return classifier is not None and classifier is self._files.general

    def source(self, model: str, request_id: str) -> Source:
        """Whose prediction this request gets, if it succeeds."""
        return self.source_of(self.serving(model).deciding(request_id))

    def source_of(self, classifier: Classifier | None) -> Source:
        """What a classifier is to the models that it predicts for."""
        if classifier is None:
            return Source.NONE
        if classifier is self._files.chosen:
            return Source.CHOSEN
        return Source.GENERAL if classifier is self._files.general else Source.OWN

    def classify(self, text: str, model: str, request_id: str) -> Classification | None:
        """None when there is no classifier or it failed.

        Blocks for 0.1 ms on a short prompt: half of what a thread would take. The classifier reads
        a bounded part of a long one.
        """
        classifier = self.serving(model).deciding(request_id)
        if classifier is None:
            return None
        try:
            return classification(classifier, classifier.features(text))
        except ClassifierError as error:
            _log.warning("the classifier failed: %s", error)
            return None


def classification(classifier: Classifier, features: tuple[int, ...]) -> Classification:
    """Raises ClassifierError."""
    return Classification(
        hazards=classifier.predict_features(features).astype(np.float64),
        features=features,
        version=classifier.version,
    )


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
