"""What requests needed, and what was predicted of them. The one module that imports the classifier.

Only prompts of the classifier's test split count: it has learned from none of them.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from classifier.columns import SPLITS, Columns, Outcome
from classifier.errors import DatasetError
from classifier.features import encode
from classifier.predictor import DifficultyClassifier
from classifier.readers import read_json_lines
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from ponder.v1 import budget_pb2
from workers.bench.blocking.jobs import EASY_NEED_TOKENS, Outcomes
from workers.training.questions import QuestionSource
from workers.training.rollouts import RolloutRunner

_MODEL: Final = "ponder-reference"
_BUDGET_TOKENS: Final = 10_000
_BATCH: Final = 64
_SEED: Final = 2026

_TWO_CLASS_ROWS: Final = 4_000
_EASY_TOKENS, _HARD_TOKENS = (250, 350), (1_500, 3_000)
_EASY_MISTAKEN, _HARD_MISTAKEN = 0.05, 0.15


def read_outcomes(path: Path) -> Outcomes:
    """Of JSON lines or as collected by workers.training.collect. Raises DatasetError."""
    return _predicted(list(read_json_lines(path, _MODEL)))


def think_outcomes(count: int) -> Outcomes:
    """Let the reference model think about so many prompts to the end; takes some minutes."""
    return _predicted([outcome for _, _, outcome in think(count, _BUDGET_TOKENS)])


def think(num_prompts: int, budget_tokens: int) -> Iterator[tuple[str, int, Outcome]]:
    """Prompt, seed and outcome of as many, as they end."""
    directory = Path(str(importlib.resources.files("workers"))) / "reference"
    runner = RolloutRunner(directory, batch=_BATCH, temperature=None, threads=1, stops_early=False)
    prompts = dict(zip(map(str, range(num_prompts)), _unseen_prompts(), strict=False))
    requests = (
        runner.request(name, prompt, budget_tokens, seed=int(name))
        for name, prompt in prompts.items()
    )
    for rollout in runner.run(requests):
        assert rollout.finished is not None
        prompt = prompts[rollout.request_id]
        outcome = Outcome(
            ids=tuple(encode(prompt).tolist()),
            thinking_tokens=rollout.finished.usage.thinking_tokens,
            budget_tokens=budget_tokens,
            stop=budget_pb2.ThinkingStop.Value(f"THINKING_STOP_{rollout.finished.stop.name}"),
            family="",
        )
        yield prompt, int(rollout.request_id), outcome


def _unseen_prompts() -> Iterator[str]:
    for index in count():
        prompt = QuestionSource(Random(f"{_SEED}:{index}"), "test").any_family().prompt
        if _is_test(tuple(encode(prompt).tolist())):
            yield prompt


def _is_test(ids: tuple[int, ...]) -> bool:
    stop = budget_pb2.THINKING_STOP_FINISHED
    row = Outcome(ids=ids, thinking_tokens=0, budget_tokens=0, stop=stop, family="")
    return bool(Columns.of([row]).splits()[0] == SPLITS.index("test"))


def _predicted(rows: list[Outcome]) -> Outcomes:
    columns = Columns.of(rows)
    unseen = np.flatnonzero(columns.splits() == SPLITS.index("test"))
    path = Path(str(importlib.resources.files("classifier"))) / "reference" / "difficulty.onnx"
    classifier = DifficultyClassifier.load(path)
    hazards = [classifier.predict_features(rows[index].ids) for index in unseen]
    # A thinking that its budget cut needed more, but no worker gives it more.
    outcomes = Outcomes(np.array(hazards, np.float64), columns.thinking_tokens[unseen])
    if not outcomes.is_hard.any() or outcomes.is_hard.all():
        raise DatasetError(
            f"{len(unseen)} traces are of prompts that the classifier has not seen, and not both "
            f"above and below {EASY_NEED_TOKENS} thinking tokens: collect more"
        )
    return outcomes


def two_classes() -> Outcomes:
    """Easy needs of 250 to 350 tokens and hard ones of 1,500 to 3,000, told apart by a classifier
    that mistakes 5 % of the easy and 15 % of the hard ones: the workload of the targets.
    """
    rng = np.random.default_rng(_SEED)
    is_hard = np.arange(_TWO_CLASS_ROWS) % 2 == 1
    easy = rng.integers(*_EASY_TOKENS, _TWO_CLASS_ROWS, endpoint=True)
    hard = rng.integers(*_HARD_TOKENS, _TWO_CLASS_ROWS, endpoint=True)
    needs = np.where(is_hard, hard, easy)
    mistaken = rng.random(_TWO_CLASS_ROWS) < np.where(is_hard, _HARD_MISTAKEN, _EASY_MISTAKEN)
    looks_hard = is_hard != mistaken
    hazards = np.empty((_TWO_CLASS_ROWS, NUM_NEED_BINS))
    for looks in (False, True):
        hazards[looks_hard == looks] = _hazards(needs[is_hard == looks])
    return Outcomes(hazards, needs)


def _hazards(needs: np.ndarray) -> np.ndarray:
    """Of a class whose needs are these."""
    events = np.bincount(np.searchsorted(NEED_BIN_EDGES, needs), minlength=NUM_NEED_BINS)
    at_risk = len(needs) - np.concatenate([[0], np.cumsum(events)[:-1]])
    return np.where(at_risk > 0, events / np.maximum(at_risk, 1), 0.5)
