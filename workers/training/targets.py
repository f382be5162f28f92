"""What the reference model has to reach, and whether an evaluation says that it does.

A target is judged on the point estimate; the interval beside it says how sure that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from workers.training.evaluation import Estimate, Evaluation
from workers.training.evaluator import EASY_BUDGET, TIER_BUDGETS
from workers.training.figures import LONG_THINKINGS_START, POSITION_NAMES
from workers.training.questions import SYSTEM_FAMILY

SYSTEM_BUDGET = TIER_BUDGETS[1]
"""The tier that every system's trials fit into."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured, as text, and whether it is enough."""

    measured: str
    is_met: bool


NOT_MEASURED = Verdict("not defined: no trials", False)


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that must be true of the model."""

    name: str
    goal: str
    judge: Callable[[Evaluation], Verdict]


def targets() -> list[Target]:
    """Every target, in the order in which the model card lists them."""
    return [
        _easy("Capitals", "capital"),
        _easy("Equations", "equation"),
        _easy("Sums", "arithmetic"),
        _systems(),
        _share("Steps right", "step_accuracy", at_least=0.995),
        _share("False claims of a hit", "false_hits", at_most=0.02),
        Target("Behind the oracle, largest over the tiers", "at most 0.070", _oracle_gap),
        *(_separation(low, high) for low, high in pairwise(TIER_BUDGETS)),
        _share("Well formed when cut", "well_formed_when_cut", at_least=0.995),
        _share("Thinking markers in answers", "markers_in_answers", at_most=0.001),
        _share("AUROC of the answer's confidence", "answer_auroc", at_least=0.95),
        _share("ECE of the answer's confidence", "answer_ece", at_most=0.05),
        _share("Thinking after the solution", "overthinking_share", at_least=0.3, at_most=0.5),
        Target("Steps right from token 5000 on", "no drop", _long_thinking),
    ]


def _share(name: str, figure: str, *, at_least: float = 0.0, at_most: float = 1.0) -> Target:
    """A figure of the mix between two bounds."""
    bounds = [f"at least {at_least:g}"] if at_least > 0 else []
    bounds += [f"at most {at_most:g}"] if at_most < 1 else []

    def judge(evaluation: Evaluation) -> Verdict:
        estimate = evaluation.mix.figures.get(figure)
        if estimate is None:
            return NOT_MEASURED
        return Verdict(str(estimate), at_least <= estimate.value <= at_most)

    return Target(name, ", ".join(bounds), judge)


def _easy(name: str, family: str) -> Target:
    def judge(evaluation: Evaluation) -> Verdict:
        estimate = evaluation.families[family].accuracy[EASY_BUDGET]
        return Verdict(str(estimate), estimate.value >= 0.98)

    return Target(f"{name} right at {EASY_BUDGET} tokens", "at least 0.98", judge)


def _systems() -> Target:
    def judge(evaluation: Evaluation) -> Verdict:
        estimate = evaluation.families[SYSTEM_FAMILY].accuracy[SYSTEM_BUDGET]
        return Verdict(str(estimate), estimate.value >= 0.98)

    return Target(f"Systems right at {SYSTEM_BUDGET} tokens", "at least 0.98", judge)


def _oracle_gap(evaluation: Evaluation) -> Verdict:
    worst = largest_oracle_gap(evaluation)
    return Verdict(str(worst), worst.value <= 0.07)


def largest_oracle_gap(evaluation: Evaluation) -> Estimate:
    """What the mix lacks to the oracle at the tier where it lacks most; negative: ahead."""
    return max(evaluation.mix.oracle_gaps.values(), key=lambda gap: gap.value)


def _separation(low: int, high: int) -> Target:
    def judge(evaluation: Evaluation) -> Verdict:
        below, above = (evaluation.mix.accuracy[budget] for budget in (low, high))
        return Verdict(f"{below}, then {above}", below.high < above.low)

    return Target(f"Accuracy rises from {low} to {high} tokens", "intervals apart", judge)


def _long_thinking(evaluation: Evaluation) -> Verdict:
    """Late steps beside the early ones of the same problems."""
    figures = evaluation.mix.figures
    early, late = (figures.get(name) for name in (LONG_THINKINGS_START, POSITION_NAMES[-1]))
    if early is None or late is None:
        return NOT_MEASURED
    return Verdict(f"{late}, their first 500: {early}", late.high >= early.low)
