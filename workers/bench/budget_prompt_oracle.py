"""What a predictor could gain at most that sees the prompt alone, as a router does.

Some questions are thought about several more times, each with another seed. Who has seen all of
them but one knows each prompt's own distribution of needs, not the need that comes: the same is
true of the best possible classifier. With few seeds the held-out gain is a little too small, for
the distributions are estimated, and the gain on the very runs that were looked at is too large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from workers.bench.budget_curves import (
    Rows,
    fixed_curve,
    informed_curve,
    intervals,
    oracle_curve,
    point,
)
from workers.bench.budget_outcomes import Floats, Outcomes, measure_outcomes
from workers.bench.early_exit_run import Bench, Progress
from workers.training.questions import Question


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same questions with several seeds; both (num_questions, num_seeds, num_budgets)."""

    spent: Floats
    right: Floats

    @property
    def num_questions(self) -> int:
        return int(self.spent.shape[0])

    @property
    def num_seeds(self) -> int:
        return int(self.spent.shape[1])

    def each(self, rows: Rows) -> Outcomes:
        """Of every run by itself; num_seeds in a row belong to a question."""
        return Outcomes(_flat(self.spent[rows]), _flat(self.right[rows]))

    def mean(self, rows: Rows) -> Outcomes:
        """For every run: the mean over the runs of its question, itself among them."""
        return Outcomes(*(_flat(_mean(values[rows])) for values in (self.spent, self.right)))

    def mean_of_others(self, rows: Rows) -> Outcomes:
        """For every run: the mean over the other runs of its question."""
        return Outcomes(*(_flat(_others(values[rows])) for values in (self.spent, self.right)))


def measure_repeated(
    first: Outcomes,
    make_bench: Callable[[int], Bench],
    questions: Sequence[Question],
    num_seeds: int,
    progress: Progress,
) -> Repeated:
    """Think about every question again until there are `num_seeds` runs of it, the first included.

    `make_bench` takes the number of a run, counted from 1, and samples with seeds of its own.
    """
    runs = [Outcomes(first.spent[: len(questions)], first.right[: len(questions)])]
    for number in range(1, num_seeds):
        progress(f"for the prompt oracle, run {number + 1} of {num_seeds}")
        bench = make_bench(number)
        runs.append(measure_outcomes(bench, questions, bench.ponder, progress)[0])
    return Repeated(
        np.stack([run.spent for run in runs], axis=1), np.stack([run.right for run in runs], axis=1)
    )


def figures(repeated: Repeated, budgets: NDArray[np.int64], rows: Rows) -> dict[str, float]:
    """Points of accuracy over the best fixed budget, all with early exit.

    At the mean tokens that Ponder's `budgets`, shape (num_questions,), take in the same runs.
    """
    each = repeated.each(rows)
    every = np.arange(len(each.spent))
    ours = point(each, np.repeat(budgets[rows], repeated.num_seeds), every)
    informed = {
        "prompt_oracle": informed_curve(repeated.mean_of_others(rows), each),
        "prompt_oracle_at_most": informed_curve(repeated.mean(rows), each),
        "need_oracle": oracle_curve(each, every),
    }
    fixed = fixed_curve(each, every).accuracy_at(ours.tokens)
    reached = {name: curve.accuracy_at(ours.tokens) for name, curve in informed.items()}
    reached["ponder"] = ours.accuracy
    return {f"repeated_{name}_points": 100.0 * (value - fixed) for name, value in reached.items()}


def with_intervals(
    repeated: Repeated, budgets: NDArray[np.int64]
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """The figures over all questions, and their 95 % intervals."""
    compute = partial(figures, repeated, budgets)
    return compute(np.arange(len(budgets))), intervals(compute, len(budgets))


def _mean(values: Floats) -> Floats:
    return np.repeat(values.mean(axis=1, keepdims=True), values.shape[1], axis=1)


def _others(values: Floats) -> Floats:
    others: Floats = (values.sum(axis=1, keepdims=True) - values) / (values.shape[1] - 1)
    return others


def _flat(values: Floats) -> Floats:
    flat: Floats = values.reshape(-1, values.shape[-1])
    return flat
