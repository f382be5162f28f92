"""Logs of a simulated model, decided by a champion that few traces trained; and candidates."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from classifier.bench.simulated_logs import Logging, simulate_logs
from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.export import export
from classifier.gate.rows import LoggedRows
from classifier.hazards import HazardModel, fit
from classifier.survival import smallest_sufficient_tier, survival_of
from tests.classifier.oracle import ask

MODEL = "oracle"
NUM_QUESTIONS = 5_200
REGULARISATION = 0.3

Save = Callable[[HazardModel, str], Path]


@dataclass(frozen=True, slots=True)
class Oracle:
    """Everything about the simulated model: what nothing cut, and what trains."""

    outcomes: list[Outcome]
    data: Dataset

    @property
    def training(self) -> Dataset:
        return self.data.split("train")


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    rng = Random(11)
    outcomes = [ask(rng).outcome() for _ in range(NUM_QUESTIONS)]
    return Oracle(outcomes, Dataset.of(outcomes))


@pytest.fixture(scope="session")
def champion_model(oracle) -> HazardModel:
    """Trained on a fifth of the rows."""
    fifth = np.arange(len(oracle.training)) % 5 == 0
    return fit(oracle.training.rows(fifth), regularisation=REGULARISATION)


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    folder = tmp_path_factory.mktemp("classifiers")

    def save(model: HazardModel, name: str) -> Path:
        path = folder / f"{name}.onnx"
        path.write_bytes(export(model, MODEL, 1))
        return path

    return save


@pytest.fixture(scope="session")
def champion(champion_model, save: Save) -> Path:
    return save(champion_model, "champion")


@pytest.fixture(scope="session")
def better(oracle, save: Save) -> Path:
    """Trained on all the rows, five times those of the champion."""
    return save(fit(oracle.training, regularisation=REGULARISATION), "better")


@pytest.fixture(scope="session")
def logs(oracle, champion_model) -> LoggedRows:
    """What a router that the champion serves leaves behind, 1 % explored, all budgets raised."""
    tiers = smallest_sufficient_tier(survival_of(champion_model.hazards(oracle.data.features)))
    rows = LoggedRows.of(simulate_logs(oracle.outcomes, tiers, Logging(), seed=0))
    rng = np.random.default_rng(0)
    tenants = rng.choice(["acme", "globex"], len(rows))
    return replace(rows, data=replace(rows.data, tenants=tenants))
