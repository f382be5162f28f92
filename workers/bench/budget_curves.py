"""Accuracy against tokens: fixed budgets, Ponder, and the controls. Pure numpy.

A curve is what a mixture of its points can reach: the best fixed budget at any mean is the mixture
of two budgets, which is a stronger control than the budgets themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from workers.bench.budget_outcomes import Floats, Outcomes

NUM_RESAMPLES: Final = 400
_SEED: Final = 5
_PRICES: Final = np.geomspace(1e-7, 1.0, 120)

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Point:
    """Mean tokens spent by a question, and the share of right answers."""

    tokens: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The upper concave envelope of some points, from no tokens and nothing right."""

    tokens: Floats
    accuracy: Floats

    @classmethod
    def over(cls, tokens: Floats, accuracy: Floats) -> Self:
        """Andrew's monotone chain (1979), upper half."""
        hull: list[tuple[float, float]] = [(0.0, 0.0)]
        for point in sorted(zip(tokens.tolist(), accuracy.tolist(), strict=True)):
            while len(hull) > 1 and _is_below(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        found = np.array(hull)
        best = int(found[:, 1].argmax()) + 1
        return cls(found[:best, 0], found[:best, 1])

    def accuracy_at(self, tokens: float) -> float:
        """The most that these mean tokens reach."""
        return float(np.interp(tokens, self.tokens, self.accuracy))

    def tokens_at(self, accuracy: float) -> float:
        """The fewest mean tokens that reach it; NaN when nothing does."""
        if accuracy > self.accuracy[-1]:
            return float("nan")
        return float(np.interp(accuracy, self.accuracy, self.tokens))


def point(outcomes: Outcomes, budgets: NDArray[np.int64], rows: Rows) -> Point:
    """What each question gets at its own budget, over these rows."""
    found = outcomes.at(budgets)
    return Point(float(found.spent[rows].mean()), float(found.right[rows].mean()))


def fixed_curve(outcomes: Outcomes, rows: Rows) -> Curve:
    """One budget for all questions, or a mixture of two."""
    return Curve.over(outcomes.spent[rows].mean(axis=0), outcomes.right[rows].mean(axis=0))


def oracle_curve(outcomes: Outcomes, rows: Rows) -> Curve:
    """Who knows beforehand what each budget would spend and give."""
    chosen = Outcomes(outcomes.spent[rows], outcomes.right[rows])
    return informed_curve(chosen, chosen)


def informed_curve(expected: Outcomes, outcomes: Outcomes) -> Curve:
    """What becomes of who expects this of each budget and takes, for a price of tokens, what seems
    the best budget of each question, or none at all.
    """
    spent, right = _with_none(expected.spent), _with_none(expected.right)
    real_spent, real_right = _with_none(outcomes.spent), _with_none(outcomes.right)
    every, points = np.arange(len(spent)), []
    for price in _PRICES:
        best = (right - price * spent).argmax(axis=1)
        points.append((real_spent[every, best].mean(), real_right[every, best].mean()))
    tokens, accuracy = np.array(points).T
    return Curve.over(tokens, accuracy)


def shuffled(budgets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The budgets that were predicted for other questions."""
    return np.random.default_rng(_SEED).permutation(budgets)


def random_tiers(budgets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drawn anew from the same mix."""
    return np.random.default_rng(_SEED + 1).choice(budgets, len(budgets))


def intervals(
    figures: Callable[[Rows], Mapping[str, float]], num_questions: int
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals over questions; every figure is paired within a resample."""
    rng = np.random.default_rng(_SEED)
    draws = [figures(rng.integers(0, num_questions, num_questions)) for _ in range(NUM_RESAMPLES)]
    return {name: _interval(np.array([draw[name] for draw in draws])) for name in draws[0]}


def _interval(values: Floats) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _is_below(
    left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]
) -> bool:
    """Whether the middle point is on or below the line between the others."""
    (x0, y0), (x1, y1), (x2, y2) = left, middle, right
    return (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0) >= 0.0


def _with_none(values: Floats) -> Floats:
    """A first column for no budget at all, which spends and gives nothing."""
    return np.hstack([np.zeros((len(values), 1)), values])
