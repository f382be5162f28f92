"""The figures of `ponder bench budget`, over any rows of the questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.bench.budget_curves import (
    Curve,
    Point,
    Rows,
    fixed_curve,
    intervals,
    oracle_curve,
    point,
    random_tiers,
    shuffled,
)
from workers.bench.budget_outcomes import LARGEST_BUDGET, Floats, Outcomes

EQUAL_ACCURACY: Final = 0.99
"""Of what the largest budget reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What every policy is computed from. `budgets` are where Ponder's escalation ends, by setting;
    `coverages` the budgets that are decided on at first. `served_*` came through a whole stack.
    """

    no_exit: Outcomes
    exit: Outcomes
    budgets: Mapping[str, NDArray[np.int64]]
    coverages: Mapping[str, NDArray[np.int64]]
    served_spent: Floats
    served_right: Floats

    @property
    def num_questions(self) -> int:
        return len(self.served_spent)

    @property
    def all_rows(self) -> Rows:
        return np.arange(self.num_questions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What Ponder is held against: without exits, and with them."""

    fixed: Curve
    fixed_with_exit: Curve
    oracle: Curve
    oracle_with_exit: Curve

    @classmethod
    def of(cls, measured: Measured, rows: Rows) -> Curves:
        return cls(
            fixed=fixed_curve(measured.no_exit, rows),
            fixed_with_exit=fixed_curve(measured.exit, rows),
            oracle=oracle_curve(measured.no_exit, rows),
            oracle_with_exit=oracle_curve(measured.exit, rows),
        )


def figures(measured: Measured, setting: str, rows: Rows) -> dict[str, float]:
    """The named figures of one setting, and of what was served at the defaults."""
    curves = Curves.of(measured, rows)
    budgets = measured.budgets[setting]
    ours = point(measured.exit, budgets, rows)
    served = Point(
        float(measured.served_spent[rows].mean()), float(measured.served_right[rows].mean())
    )
    return {
        "tokens_saved_at_99": _saved_at_99(measured, rows, ponder_curve(measured, rows)),
        "oracle_tokens_saved_at_99": _saved_at_99(measured, rows, curves.oracle_with_exit),
        **_against(curves, ours),
        "shuffled_points_over_best_fixed": _points(
            curves.fixed, point(measured.exit, shuffled(budgets), rows)
        ),
        "shuffled_points_over_best_fixed_with_exit": _points(
            curves.fixed_with_exit, point(measured.exit, shuffled(budgets), rows)
        ),
        "random_points_over_best_fixed_with_exit": _points(
            curves.fixed_with_exit, point(measured.exit, random_tiers(budgets), rows)
        ),
        **{f"served_{name}": value for name, value in _against(curves, served).items()},
        "served_tokens_saved": 1.0 - served.tokens / _always(measured, rows).tokens,
        "served_accuracy_share": served.accuracy / _always(measured, rows).accuracy,
    }


def with_intervals(
    measured: Measured, setting: str
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """The figures over all questions, and their 95 % intervals."""
    compute = partial(figures, measured, setting)
    return compute(measured.all_rows), intervals(compute, measured.num_questions)


def ponder_curve(measured: Measured, rows: Rows) -> Curve:
    """What Ponder's settings, and mixtures of two, reach."""
    points = [point(measured.exit, budgets, rows) for budgets in measured.budgets.values()]
    return Curve.over(np.array([p.tokens for p in points]), np.array([p.accuracy for p in points]))


def _against(curves: Curves, ours: Point) -> dict[str, float]:
    """`routing`: what the choice of budgets adds where the fixed budgets have exits too."""
    return {
        "tokens": ours.tokens,
        "accuracy": ours.accuracy,
        "points_over_best_fixed": _points(curves.fixed, ours),
        "routing_points_over_best_fixed": _points(curves.fixed_with_exit, ours),
        "exit_points_over_best_fixed": 100.0
        * (curves.fixed_with_exit.accuracy_at(ours.tokens) - curves.fixed.accuracy_at(ours.tokens)),
        "share_of_oracle_gain": _share(curves.fixed, curves.oracle_with_exit, ours),
        "share_of_routing_oracle_gain": _share(
            curves.fixed_with_exit, curves.oracle_with_exit, ours
        ),
        "tokens_saved_at_equal_accuracy": 1.0 - ours.tokens / curves.fixed.tokens_at(ours.accuracy),
    }


def _points(control: Curve, ours: Point) -> float:
    return 100.0 * (ours.accuracy - control.accuracy_at(ours.tokens))


def _share(control: Curve, oracle: Curve, ours: Point) -> float:
    floor, ceiling = control.accuracy_at(ours.tokens), oracle.accuracy_at(ours.tokens)
    return (ours.accuracy - floor) / (ceiling - floor) if ceiling > floor else float("nan")


def _saved_at_99(measured: Measured, rows: Rows, curve: Curve) -> float:
    always = _always(measured, rows)
    return 1.0 - curve.tokens_at(EQUAL_ACCURACY * always.accuracy) / always.tokens


def _always(measured: Measured, rows: Rows) -> Point:
    largest = np.full(measured.num_questions, LARGEST_BUDGET)
    return point(measured.no_exit, largest, rows)
