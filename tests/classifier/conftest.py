from pathlib import Path
from random import Random

import pytest

from classifier.dataset import Dataset
from classifier.export import export
from classifier.hazards import HazardModel
from classifier.predictor import DifficultyClassifier
from classifier.train import train
from tests.classifier.oracle import Question, ask

NUM_QUESTIONS = 3200


@pytest.fixture(scope="session")
def questions() -> list[Question]:
    rng = Random(7)
    return [ask(rng) for _ in range(NUM_QUESTIONS)]


@pytest.fixture(scope="session")
def dataset(questions: list[Question]) -> Dataset:
    return Dataset.of(question.outcome() for question in questions)


@pytest.fixture(scope="session")
def model(dataset: Dataset) -> HazardModel:
    return train(dataset, lambda line: None)


@pytest.fixture(scope="session")
def serialized(model: HazardModel, dataset: Dataset) -> bytes:
    return export(model, "oracle", len(dataset.split("train")))


@pytest.fixture(scope="session")
def classifier_path(serialized: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "difficulty.onnx"
    path.write_bytes(serialized)
    return path


@pytest.fixture(scope="session")
def classifier(classifier_path: Path) -> DifficultyClassifier:
    return DifficultyClassifier.load(classifier_path)
