"""The classifier is optional, a broken file is not."""

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.errors import ClassifierError
from ponder.bins import NUM_NEED_BINS
from ponder.environment import ConfigError
from router.classification import Classifying, load_classifier


class FailingClassifier:
    version = "1"

    def features(self, prompt: str) -> tuple[int, ...]:
        return ()

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]:
        raise ClassifierError("the graph failed")


def test_a_prediction_has_hazards_features_and_version(classifier_path):
    found = Classifying(load_classifier(str(classifier_path))).classify("What is 2 + 2?")

    assert found is not None
    assert found.hazards.shape == (NUM_NEED_BINS,)
    assert found.features
    assert found.version


def test_a_failure_costs_the_prediction_only(caplog):
    assert Classifying(FailingClassifier()).classify("What is 2 + 2?") is None
    assert "What is" not in caplog.text


def test_a_missing_file_is_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert load_classifier(str(tmp_path / "missing.onnx")) is None
    assert "default tier" in caplog.text


def test_a_broken_file_is_an_error(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"")

    with pytest.raises(ConfigError, match=r"ROUTER_CLASSIFIER.*broken\.onnx"):
        load_classifier(str(tmp_path / "broken.onnx"))
