"""How well a classifier trained on traces predicts others of the same model: `--traces`."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.columns import SPLITS, Outcome
from classifier.dataset import Dataset
from classifier.decisions import Decision
from classifier.errors import DatasetError
from classifier.evaluate import Coverage, Evaluation, evaluate
from classifier.export import export
from classifier.hazards import HazardModel
from classifier.predictor import DifficultyClassifier
from classifier.readers import models_in, read_json_lines, values_in
from classifier.survival import TIER_BUDGETS
from classifier.train import train, train_controls
from ponder.v1.budget_pb2 import THINKING_STOP_EXHAUSTED

_NUM_TIMED: Final = 2000
_NUM_WARM_UP: Final = 50
_ORDER_SHARES: Final = (0.60, 0.75)
_CENSORING_SEED: Final = 0
# So many small ones that a fifth of the requests and more is cut, whatever the model.
_CENSORING_WEIGHTS: Final = (3, 1, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFigures:
    """`censored_share` is that of the rows trained on; `times_ms` are of one call, see _time_ms."""

    evaluation: Evaluation
    controls: Mapping[str, Evaluation]
    censored_share: float
    times_ms: Mapping[str, float]

    @property
    def coverage_error_pp(self) -> float:
        """Percentage points between the share that the 90 % bound covers and the predicted one."""
        return _error_pp(self.evaluation.bound)

    @property
    def worst_slice_coverage_error_pp(self) -> float:
        """The largest of those by family and by third of the predicted median."""
        return max(map(_error_pp, self.evaluation.bound_by_slice.values()), default=float("nan"))

    @property
    def ece(self) -> float:
        """The largest calibration error of P(need > budget) over the tiers."""
        return float(np.nanmax(list(self.evaluation.calibration_error.values())))

    def by_name(self) -> dict[str, float]:
        """As a benchmark reports them."""
        names = ("coverage_error_pp", "worst_slice_coverage_error_pp", "censored_share", "ece")
        return {
            **{name: getattr(self, name) for name in names},
            "tau_in": self.evaluation.tau,
            "bound_observed": self.evaluation.bound.observed,
            "bound_expected": self.evaluation.bound.expected,
            **{f"ece_{tier}": e for tier, e in self.evaluation.calibration_error.items()},
            **self.times_ms,
        }

    def controls_by_name(self) -> dict[str, float]:
        """What the controls reach on the same rows."""
        return {
            f"{name}.{figure}": value
            for name, evaluation in self.controls.items()
            for figure, value in (
                ("tau_in", evaluation.tau),
                ("coverage_error_pp", _error_pp(evaluation.bound)),
            )
        }


def measure(
    path: Path, *, by_order: bool, censored: bool, report: Callable[[str], None]
) -> TraceFigures:
    """Train on 75 % of a file's traces, judge by the rest. Raises DatasetError.

    The rest is new prompts, or `by_order` the latest ones. `censored`: every request that trains
    is cut at a tier budget drawn at random, those that judge are left whole.
    """
    model_name = _only_model(path)
    outcomes = list(read_json_lines(path, model_name))
    data = Dataset.of(outcomes)
    splits = data.splits
    if by_order:
        splits = _splits_by_order(values_in(path, model_name, "id"))
    if censored:
        data = Dataset.of(_cut(outcomes, splits))
    data = replace(data, splits=splits)
    model = train(data, report)
    test = data.split("test")
    prompts = [text for text in values_in(path, model_name, "prompt") if isinstance(text, str)]
    return TraceFigures(
        evaluation=evaluate(model.hazards(test.features), test),
        controls={
            name: evaluate(control.hazards(test.features), test)
            for name, control in train_controls(data, model.regularisation, report).items()
        },
        censored_share=float(1.0 - data.rows(data.splits != "test").need_known.mean()),
        times_ms=_time_ms(model, prompts) if prompts else {},
    )


def _only_model(path: Path) -> str:
    models = models_in([path])
    if len(models) != 1:
        raise DatasetError(f"--traces {path}: holds traces of models {models}, one is needed")
    return models[0]


def _splits_by_order(ids: Sequence[object]) -> NDArray[np.str_]:
    """By the numbers of the requests, which count up as they begin.

    The lines stand in the order in which requests ended: the last ones would all be long. Without
    numbers that order has to do.
    """
    numbers = [value if isinstance(value, int) else line for line, value in enumerate(ids)]
    train_end, validation_end = (int(share * len(ids)) for share in _ORDER_SHARES)
    counts = (train_end, validation_end - train_end, len(ids) - validation_end)
    splits = np.empty(len(ids), dtype="<U10")
    splits[np.argsort(numbers, kind="stable")] = np.repeat(SPLITS, counts)
    return splits


def _cut(outcomes: Sequence[Outcome], splits: NDArray[np.str_]) -> list[Outcome]:
    rng, tiers = Random(_CENSORING_SEED), range(len(TIER_BUDGETS))
    return [
        outcome if split == "test" else _decided(outcome, rng.choices(tiers, _CENSORING_WEIGHTS)[0])
        for outcome, split in zip(outcomes, splits, strict=True)
    ]


def _decided(outcome: Outcome, tier: int) -> Outcome:
    """What the trace would have said had the tier been drawn, and how likely each was."""
    propensities = tuple(weight / sum(_CENSORING_WEIGHTS) for weight in _CENSORING_WEIGHTS)
    decision = Decision(first_tier=tier, propensities=propensities)
    budget_tokens = list(TIER_BUDGETS.values())[tier]
    return replace(_with_budget(outcome, budget_tokens), decision=decision)


def _with_budget(outcome: Outcome, budget_tokens: int) -> Outcome:
    """What the trace would have said with a smaller budget."""
    if outcome.budget_tokens <= budget_tokens:
        return outcome
    if outcome.thinking_tokens <= budget_tokens:
        return replace(outcome, budget_tokens=budget_tokens)
    return replace(
        outcome,
        budget_tokens=budget_tokens,
        thinking_tokens=budget_tokens,
        stop=THINKING_STOP_EXHAUSTED,
    )


def _time_ms(model: HazardModel, prompts: Sequence[str]) -> dict[str, float]:
    """Of the served graph, from prompt to hazards, on one thread: by the clock, and the processor
    time of that thread, which other work on the machine does not lengthen.
    """
    classifier = _served(model)
    wall_ms, cpu_ms = [], []
    for index in range(-_NUM_WARM_UP, _NUM_TIMED):
        prompt = prompts[index % len(prompts)]
        started_s, started_cpu_s = time.perf_counter(), time.thread_time()
        classifier.predict(prompt)
        cpu_ms.append((time.thread_time() - started_cpu_s) * 1e3)
        wall_ms.append((time.perf_counter() - started_s) * 1e3)
    return {
        f"classify_{name}p{share}_ms": float(np.percentile(times[_NUM_WARM_UP:], share))
        for name, times in (("", wall_ms), ("cpu_", cpu_ms))
        for share in (50, 99)
    }


def _served(model: HazardModel) -> DifficultyClassifier:
    with TemporaryDirectory(prefix="ponder-bench-") as directory:
        path = Path(directory) / "difficulty.onnx"
        path.write_bytes(export(model, "timed", 0))
        return DifficultyClassifier.load(path)


def _error_pp(coverage: Coverage) -> float:
    return 100.0 * abs(coverage.observed - coverage.expected)
