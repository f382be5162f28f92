"""The classifier is optional, a broken file is not."""

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.errors import ClassifierError
from ponder.bins import NUM_NEED_BINS
from ponder.environment import ConfigError
from router.classification import Classifiers, Classifying, load_classifiers
from router.telemetry import Source


class FailingClassifier:
    version = "1"

    def features(self, prompt: str) -> tuple[int, ...]:
        return ()

    def predict_features(self, ids: Sequence[int]) -> NDArray[np.float32]:
        raise ClassifierError("the graph failed")


def test_a_prediction_has_hazards_features_and_version(classifier_path):
    found = Classifying(load_classifiers(str(classifier_path))).classify(
        "What is 2 + 2?", "any", "id"
    )

    assert found is not None
    assert found.hazards.shape == (NUM_NEED_BINS,)
    assert found.features
    assert found.version


def test_a_failure_costs_the_prediction_only(caplog):
    classifying = Classifying(Classifiers(chosen=FailingClassifier()))

    assert classifying.classify("What is 2 + 2?", "any", "id") is None
    assert "What is" not in caplog.text


def test_a_missing_file_is_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert load_classifiers(str(tmp_path / "missing.onnx")).of("any") is None
    assert "default tier" in caplog.text


def test_a_broken_file_is_an_error(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"")

    with pytest.raises(ConfigError, match=r"ROUTER_CLASSIFIER.*broken\.onnx"):
        load_classifiers(str(tmp_path / "broken.onnx"))


def test_the_reference_model_keeps_its_own_classifier_and_others_get_the_general_one():
    classifying = Classifying(load_classifiers(""))
    reference, other = (
        classifying.classify("Solve 3x + 5 = 20", model, "id")
        for model in ("ponder-reference", "other")
    )

    assert reference is not None
    assert other is not None
    assert reference.version != other.version
    assert not classifying.is_cold("ponder-reference", "id")
    assert classifying.is_cold("other", "id")


def test_a_configured_classifier_predicts_for_every_model(classifier_path):
    classifying = Classifying(load_classifiers(str(classifier_path)))
    versions = {
        found.version
        for model in ("ponder-reference", "other")
        if (found := classifying.classify("Solve 3x + 5 = 20", model, "id"))
    }

    assert len(versions) == 1
    assert not classifying.is_cold("other", "id")


def test_it_tells_whose_prediction_a_model_gets(classifier_path):
    shipped = Classifying(load_classifiers(""))
    chosen = Classifying(load_classifiers(str(classifier_path)))

    assert shipped.source("ponder-reference", "id") is Source.OWN
    assert shipped.source("other", "id") is Source.GENERAL
    assert chosen.source("ponder-reference", "id") is Source.CHOSEN
    assert Classifying(Classifiers()).source("other", "id") is Source.NONE
    assert Classifying(Classifiers()).versions("other") == ()
    assert len(chosen.versions("other")) == 1
