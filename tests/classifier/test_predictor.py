"""A file that cannot be trusted is refused when it is loaded, in words that say why."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from classifier.errors import ClassifierError
from classifier.metadata import BLANK_VERSION, content_version
from classifier.predictor import DifficultyClassifier
from ponder.bins import NUM_NEED_BINS

Change = Callable[[onnx.ModelProto], None]


def refuse(path: Path, serialized: bytes, reason: str) -> None:
    path.write_bytes(serialized)
    with pytest.raises(ClassifierError, match=reason) as error:
        DifficultyClassifier.load(path)
    assert str(path) in str(error.value)


def resealed(serialized: bytes, change: Change) -> bytes:
    """The file after a change, with the version that its new contents should have."""
    proto = onnx.load_from_string(serialized)
    change(proto)
    version = next(item for item in proto.metadata_props if item.key == "ponder.version")
    version.value = BLANK_VERSION
    version.value = content_version(proto.SerializeToString(deterministic=True))
    return proto.SerializeToString(deterministic=True)


def in_metadata(old: str, new: str) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        item = next(item for item in proto.metadata_props if item.key == "ponder.classifier")
        assert old in item.value
        item.value = item.value.replace(old, new)

    return change


def in_initializer(name: str, shape: tuple[int, ...], value: float) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        tensor = next(item for item in proto.graph.initializer if item.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.full(shape, value, np.float32), name))

    return change


def rename_output(proto: onnx.ModelProto) -> None:
    proto.graph.output[2].name = "label"
    proto.graph.node[-1].output[0] = "label"


def test_prediction_is_a_hazard_for_every_bin(classifier):
    hazards = classifier.predict("Reach 24 using each of 3, 5, 6 and 8 once.")

    assert hazards.shape == (NUM_NEED_BINS,)
    assert hazards.dtype == np.float32
    assert ((hazards > 0) & (hazards < 1)).all()


def test_stored_features_predict_what_the_prompt_predicts(classifier):
    prompt = "Löse 3x + 4 = 19 für x."

    assert (
        classifier.predict_features(classifier.features(prompt)) == classifier.predict(prompt)
    ).all()


def test_features_of_another_version_are_refused(classifier):
    with pytest.raises(ClassifierError, match="version 99"):
        classifier.predict_features([99, 1, 2, 3])


def test_version_and_model_come_from_the_file(classifier, classifier_path):
    assert classifier.model == "oracle"
    assert len(classifier.version) == 16
    assert classifier.version == DifficultyClassifier.load(classifier_path).version


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ClassifierError, match="No such file"):
        DifficultyClassifier.load(tmp_path / "difficulty.onnx")


@pytest.mark.parametrize(
    "contents", [b"", b"not a graph", None], ids=["empty", "text", "truncated"]
)
def test_unreadable_graph_is_refused(tmp_path, serialized, contents):
    contents = serialized[: len(serialized) // 2] if contents is None else contents

    refuse(tmp_path / "broken.onnx", contents, "not a readable ONNX graph")


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_one_flipped_bit_in_the_weights_is_noticed(tmp_path, serialized, share):
    broken = bytearray(serialized)
    broken[int(share * len(broken))] ^= 1

    refuse(tmp_path / "broken.onnx", bytes(broken), "do not match its version")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (in_metadata('"feature_version": 1', '"feature_version": 0'), "feature_version is 0"),
        (in_metadata('"num_features": 1', '"num_features": 2'), "num_features is 2"),
        (in_metadata("[16, 24", "[16, 25"), "need_bin_edges"),
        (in_metadata('"model"', '"name"'), "not a classifier of this project"),
        (in_initializer("intercepts", (NUM_NEED_BINS,), float("nan")), "not probabilities"),
        (in_initializer("weights", (8, NUM_NEED_BINS), 0.0), "not a readable|failed"),
        (in_initializer("intercepts", (NUM_NEED_BINS + 1,), 0.0), "not a readable|failed"),
        (rename_output, "outputs are"),
    ],
    ids=["version", "width", "edges", "fields", "nan", "weights", "intercepts", "outputs"],
)
def test_graph_made_for_something_else_is_refused(tmp_path, serialized, change, reason):
    refuse(tmp_path / "other.onnx", resealed(serialized, change), reason)


def test_graph_of_another_origin_is_refused(tmp_path, serialized):
    proto = onnx.load_from_string(serialized)
    del proto.metadata_props[:]

    refuse(tmp_path / "other.onnx", proto.SerializeToString(), "do not match its version")
