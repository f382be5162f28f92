"""The graph computes what scikit-learn computes, on thousands of rows of any script."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from classifier.errors import ExportError
from classifier.export import MIN_PARITY_ROWS, PARITY_TOLERANCE, check_parity, export
from classifier.features import encode, vectorize
from classifier.predictor import DifficultyClassifier
from classifier.survival import survival_of

ALPHABETS = (
    "abc xyz 0123456789+*=?\n",
    "äßçéñ ",
    "доказать ",
    "求证素数有无穷多个 ",
    "😀🧮∑∫√ ",
    "مرحبا ",
)


def foreign_prompts(count: int) -> list[str]:
    rng = Random(11)
    prompts = []
    for _ in range(count):
        alphabet = "".join(rng.choices(ALPHABETS, k=2))
        prompts.append("".join(rng.choices(alphabet, k=rng.randint(0, 200))))
    return prompts


def test_graph_equals_scikit_learn_on_held_out_and_foreign_prompts(serialized, model, dataset):
    held_out = dataset.features[dataset.splits != "train"]
    foreign = np.stack([vectorize(encode(prompt)) for prompt in foreign_prompts(1000)])

    rows = np.concatenate([held_out, foreign])

    assert len(held_out) >= MIN_PARITY_ROWS
    assert check_parity(serialized, model, rows) <= PARITY_TOLERANCE


def test_served_prediction_of_a_prompt_equals_scikit_learn(classifier, model, questions):
    prompts = [question.prompt for question in questions[:100]] + foreign_prompts(100)

    served = np.stack([classifier.predict(prompt) for prompt in prompts])

    expected = model.hazards(np.stack([vectorize(encode(prompt)) for prompt in prompts]))
    assert np.abs(served - expected).max() <= PARITY_TOLERANCE
    assert np.abs(survival_of(served) - survival_of(expected)).max() <= PARITY_TOLERANCE


def test_graph_of_another_model_is_not_exported(serialized, model, dataset):
    model.intercepts[0] += 1e-3
    try:
        with pytest.raises(ExportError, match="differs from what was trained"):
            check_parity(serialized, model, dataset.features)
    finally:
        model.intercepts[0] -= 1e-3


def test_parity_needs_a_thousand_rows(serialized, model, dataset):
    with pytest.raises(ExportError, match="collect more traces"):
        check_parity(serialized, model, dataset.features[: MIN_PARITY_ROWS - 1])


def test_same_model_gives_the_same_bytes_and_another_another_version(
    serialized: bytes, model, dataset, tmp_path: Path
):
    again = export(model, "oracle", len(dataset.split("train")))
    other = tmp_path / "other.onnx"
    other.write_bytes(export(model, "another-model", len(dataset.split("train"))))

    assert again == serialized
    assert DifficultyClassifier.load(other).version.encode() not in serialized
