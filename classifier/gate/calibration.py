"""Do the candidate's probabilities hold: of its 90 % bound, and of each tier's budget?

Both compare what was predicted with what was observed on the rows that tell, weighted so that they
stand for all of them, see following.py.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.evaluate import (
    NUM_CALIBRATION_BINS,
    Coverage,
    calibration_bins,
    coverage,
    slices,
)
from classifier.following import Following
from classifier.gate.contest import MIN_SLICE_ROWS, Contender, Contest
from classifier.gate.report import Check
from classifier.survival import TIER_BUDGETS, Floats, covering_bin
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

MAX_COVERAGE_ERROR: Final = 0.02
MAX_SLICE_COVERAGE_ERROR: Final = 0.05
MAX_CALIBRATION_ERROR: Final = 0.03

_EDGES: Final = np.array(NEED_BIN_EDGES)


def check_coverage(contest: Contest) -> Check:
    """How often the need is within the bound, against how often that was predicted; overall, and in
    every slice in which MIN_SLICE_ROWS rows tell.
    """
    errors = coverage_errors(contest.candidate, contest.following)
    overall = errors.pop("all", None)
    worst = max(errors, key=lambda name: abs(errors[name]), default=None)
    worst_error = errors[worst] if worst else 0.0
    champion = coverage_errors(contest.champion, contest.following).get("all")
    return Check.of(
        "coverage",
        passed=overall is not None
        and abs(overall) <= MAX_COVERAGE_ERROR
        and abs(worst_error) <= MAX_SLICE_COVERAGE_ERROR,
        remedy=_coverage_remedy(overall, worst, worst_error),
        candidate=_points(overall) + (f", {worst} {_points(worst_error)}" if worst else ""),
        champion=_points(champion),
        limit=f"{MAX_COVERAGE_ERROR:.0%} of all, {MAX_SLICE_COVERAGE_ERROR:.0%} in a slice",
        figures={
            "all": overall,
            "champion": champion,
            "slices": errors,
            "told_share": told_share(contest.candidate, contest.following),
        },
    )


def check_calibration(contest: Contest) -> Check:
    """Calibration error of P(need > budget) in the worst tier, less what chance would show."""
    candidate = tier_errors(contest.candidate, contest.following)
    champion = tier_errors(contest.champion, contest.following)
    worst = max(candidate, key=lambda name: candidate[name], default=None)
    return Check.of(
        "calibration",
        passed=worst is not None and candidate[worst] <= MAX_CALIBRATION_ERROR,
        remedy=f"P(need > budget) is off in tier {worst}: train it on later traces"
        if worst
        else f"in no tier {MIN_SLICE_ROWS} rows tell: collect traces with larger budgets",
        candidate=f"{candidate[worst]:.3f} in {worst}" if worst else "-",
        champion=f"{max(champion.values()):.3f}" if champion else "-",
        limit=f"{MAX_CALIBRATION_ERROR}",
        figures={"candidate": candidate, "champion": champion},
    )


def coverage_errors(contender: Contender, following: Following) -> dict[str, float]:
    """Observed less expected coverage of the bound: "all", then by slice; only where enough rows
    tell.
    """
    all_rows = {"all": np.ones(len(following), dtype=np.bool_)}
    chosen = all_rows | slices(following.data, contender.median)
    found = {name: _coverage(contender, following, rows) for name, rows in chosen.items()}
    return {
        name: coverage.observed - coverage.expected
        for name, coverage in found.items()
        if coverage.num_rows >= MIN_SLICE_ROWS
    }


def _coverage(contender: Contender, following: Following, chosen: NDArray[np.bool_]) -> Coverage:
    survival = contender.survival[chosen]
    return coverage(covering_bin(survival), survival, following.at(chosen))


def told_share(contender: Contender, following: Following) -> float:
    """Of the rows with a bound, those about whose bound the logs could tell: the rest is not in the
    figures, and a candidate whose bounds are far above the logged budgets has much of it.
    """
    bound = covering_bin(contender.survival)
    chosen = bound < NUM_NEED_BINS
    if not chosen.any():
        return float("nan")
    return float(following.at(chosen).answers(_EDGES[bound[chosen]]).is_possible.mean())


def tier_errors(contender: Contender, following: Following) -> dict[str, float]:
    """By tier, where enough rows tell."""
    errors = {}
    for name, budget in zip(TIER_BUDGETS, following.budgets, strict=True):
        answers = following.answers(budget)
        if answers.num_answered >= MIN_SLICE_ROWS:
            predicted = contender.survival_at(budget)
            errors[name] = calibration_error(predicted, answers.exceeds, answers.weights)
    return errors


def calibration_error(predicted: Floats, exceeds: NDArray[np.bool_], weights: Floats) -> float:
    """Expected calibration error over bins of equal width, with the part of it that perfect
    calibration would show by chance on these very rows taken out: sqrt(max(0, ece^2 - chance^2)).

    Of n rows, chance makes about sqrt(2 p (1 - p) / (pi n)) per bin: 0.02 in all on 1,000 rows, as
    much as what is looked for. Sources: Naeini, Cooper and Hauskrecht (2015), "Obtaining Well
    Calibrated Probabilities"; Kumar, Liang and Ma (2019), "Verified Uncertainty Calibration".
    """
    bins = calibration_bins(predicted)
    gaps = np.bincount(bins, weights * (predicted - exceeds), NUM_CALIBRATION_BINS)
    variances = np.bincount(bins, weights**2 * predicted * (1.0 - predicted), NUM_CALIBRATION_BINS)
    error = np.abs(gaps).sum() / weights.sum()
    chance = np.sqrt(2.0 / np.pi * variances).sum() / weights.sum()
    return float(np.sqrt(max(0.0, error**2 - chance**2)))


def _coverage_remedy(overall: float | None, worst: str | None, worst_error: float) -> str:
    if overall is None:
        return f"fewer than {MIN_SLICE_ROWS} rows tell: collect traces with larger budgets"
    if abs(overall) > MAX_COVERAGE_ERROR:
        way = "covers less than it says" if overall < 0.0 else "covers more than it says"
        return f"its 90 % bound {way}: train it on later traces, of this model alone"
    way = "less" if worst_error < 0.0 else "more"
    return f"in slice {worst} its bound covers {way} than it says: collect more traces of that kind"


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f} points"
