"""How good is a predicted survival curve, judged by outcomes of which many are censored.

Log-loss is exact under censoring. Every other question, such as "is the need above 500 tokens?", is
put only to rows that tell by design, weighted so that they stand for all: taking short needs from
rows with small budgets, but not the long ones that the same budgets cut, would make every curve
look too pessimistic, and counting a budget that was raised as one that had been decided on, too
optimistic. See following.py.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from classifier.dataset import Dataset
from classifier.following import Answers, Following
from classifier.survival import (
    TIER_BINS,
    TIER_BUDGETS,
    Floats,
    covering_bin,
    median_need,
    smallest_sufficient_tier,
    survival_of,
)
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

NUM_CALIBRATION_BINS: Final = 15
MIN_SLICE_ROWS: Final = 100
MAX_SLICES: Final = 100
MAX_RANKED_ROWS: Final = 3000
_EDGES: Final = np.array(NEED_BIN_EDGES)

Figure = TypeVar("Figure", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often a budget sufficed, with half the width of the 95 % interval, beside how often it
    was predicted to. NaN when no row can tell. Budgets are bin edges, so more than COVERAGE of the
    rows are expected to be covered; what calibration promises is that both shares agree.
    `num_rows` tell.
    """

    observed: float
    half_width: float
    expected: float
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Dictionaries are by tier, or by slice. `unbounded_share`: no bin edge has COVERAGE."""

    num_rows: int
    log_loss: float
    tau: float
    brier: dict[str, float]
    calibration_error: dict[str, float]
    rows_covering: dict[str, int]
    bound: Coverage
    bound_by_slice: dict[str, Coverage]
    unbounded_share: float
    tier: Coverage
    tier_shares: dict[str, float]


def evaluate(hazards: Floats, data: Dataset) -> Evaluation:
    """Judge the hazards (num_rows, NUM_NEED_BINS) of the rows of `data`."""
    survival = survival_of(hazards)
    tiers = smallest_sufficient_tier(survival)
    bound, median = covering_bin(survival), median_need(survival)
    following = Following.of(data)
    tier_answers = [following.answers(budget) for budget in TIER_BUDGETS.values()]
    by_tier = list(zip(survival[:, TIER_BINS].T, tier_answers, strict=True))
    return Evaluation(
        num_rows=len(data),
        log_loss=log_loss(hazards, data),
        tau=rank_correlation(median, data),
        brier=_by_tier([brier(predicted, answers) for predicted, answers in by_tier]),
        calibration_error=_by_tier([calibration_error(*each) for each in by_tier]),
        rows_covering=_by_tier([answers.num_answered for answers in tier_answers]),
        bound=coverage(bound, survival, following),
        bound_by_slice={
            name: coverage(bound[rows], survival[rows], following.at(rows))
            for name, rows in slices(data, median).items()
            if rows.sum() >= MIN_SLICE_ROWS
        },
        unbounded_share=float((bound == NUM_NEED_BINS).mean()),
        tier=coverage(np.array(TIER_BINS)[tiers], survival, following),
        tier_shares=_by_tier([float((tiers == t).mean()) for t in range(len(TIER_BUDGETS))]),
    )


def log_loss(hazards: Floats, data: Dataset) -> float:
    """Mean negative log-likelihood per row, in nats; exact under right-censoring."""
    return float(np.average(row_log_losses(hazards, data), weights=data.weights))


def row_log_losses(hazards: Floats, data: Dataset) -> Floats:
    """Negative log-likelihood of each row (num_rows,), in nats."""
    clipped = np.clip(hazards, 1e-9, 1 - 1e-9)
    losses = -np.where(data.events, np.log(clipped), np.log1p(-clipped))
    per_row: Floats = (losses * data.at_risk).sum(axis=1)
    return per_row


def brier(predicted: Floats, answers: Answers) -> float:
    """Mean squared error of P(need > tokens) (num_rows,); NaN when no row tells."""
    return answers.mean((predicted - answers.exceeds) ** 2)


def calibration_error(predicted: Floats, answers: Answers) -> float:
    """Expected calibration error of P(need > tokens) over NUM_CALIBRATION_BINS equal widths.

    Source: Naeini, Cooper and Hauskrecht (2015), "Obtaining Well Calibrated Probabilities".
    """
    if not answers.num_answered:
        return float("nan")
    gaps = answers.weights * (predicted - answers.exceeds)
    sums = np.bincount(calibration_bins(predicted), gaps, NUM_CALIBRATION_BINS)
    return float(np.abs(sums).sum() / answers.weights.sum())


def calibration_bins(predicted: Floats) -> NDArray[np.int64]:
    """Which of NUM_CALIBRATION_BINS equal widths each probability (num_rows,) falls into."""
    bins = (predicted * NUM_CALIBRATION_BINS).astype(np.int64)
    return np.minimum(bins, NUM_CALIBRATION_BINS - 1)


def coverage(bound: NDArray[np.int64], survival: Floats, following: Following) -> Coverage:
    """How often the need is within the edge of bin `bound` (num_rows,), by the rows that tell."""
    rows = np.flatnonzero(bound < NUM_NEED_BINS)
    answers = following.at(rows).answers(_EDGES[bound[rows]])
    if not answers.num_answered:
        nothing = float("nan")
        return Coverage(observed=nothing, half_width=nothing, expected=nothing, num_rows=0)
    observed = 1.0 - answers.mean(answers.exceeds.astype(float))
    return Coverage(
        observed=observed,
        half_width=1.96 * (observed * (1.0 - observed) / answers.effective_rows) ** 0.5,
        expected=1.0 - answers.mean(survival[rows, bound[rows]]),
        num_rows=answers.num_answered,
    )


def rank_correlation(predicted: Floats, data: Dataset) -> float:
    """Kendall's tau over the pairs whose order is known in spite of censoring.

    A pair is known when the smaller spending stopped by itself; a tie in the prediction counts as
    neither right nor wrong. Source: Harrell et al. (1982), "Evaluating the Yield of Medical Tests"
    (its c index is (tau + 1) / 2).
    """
    order = ranked_rows(len(data))
    tokens, known, score = data.thinking_tokens[order], data.need_known[order], predicted[order]
    right = wrong = 0
    for row in np.flatnonzero(known):
        longer = tokens > tokens[row]
        right += int((score[longer] > score[row]).sum())
        wrong += int((score[longer] < score[row]).sum())
    pairs = sum(int((tokens > tokens[row]).sum()) for row in np.flatnonzero(known))
    return (right - wrong) / pairs if pairs else float("nan")


def ranked_rows(num_rows: int) -> NDArray[np.int64]:
    """Indices of the rows whose pairs rank_correlation compares: at most MAX_RANKED_ROWS."""
    return np.random.default_rng(0).permutation(num_rows)[:MAX_RANKED_ROWS]


def slices(data: Dataset, median: Floats) -> dict[str, NDArray[np.bool_]]:
    """Masks (num_rows,) by family and tenant, the largest MAX_SLICES of each as tenants may be
    many, and by third of the predicted median (num_rows,).
    """
    edges = np.quantile(median, [1 / 3, 2 / 3], method="inverted_cdf")
    third = np.searchsorted(edges, median)
    return {
        **_by_value("family", data.families),
        **_by_value("tenant", data.tenants),
        **{f"{name} third": third == i for i, name in enumerate(("easy", "middle", "hard"))},
    }


def _by_value(kind: str, values: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    names, counts = np.unique(values, return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:MAX_SLICES]
    return {f"{kind} {name}": values == name for name in sorted(largest) if name}


def _by_tier(values: list[Figure]) -> dict[str, Figure]:
    return dict(zip(TIER_BUDGETS, values, strict=True))
