"""How good is a predicted survival curve, judged by outcomes of which many are censored.

Each figure uses only rows whose answer is known by design: the budget, chosen before the need was
known, covers the question. Taking short needs from rows with small budgets, but not the long ones
that the same budgets cut, would make every curve look too pessimistic.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.dataset import Dataset
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
MAX_RANKED_ROWS: Final = 3000
_EDGES: Final = np.array(NEED_BIN_EDGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often a budget sufficed, with half the width of the 95 % interval, beside how often it
    was predicted to. NaN when no row can tell. Budgets are bin edges, so more than COVERAGE of the
    rows are expected to be covered; what calibration promises is that both shares agree.
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
    decided = {name: is_decided(data, budget) for name, budget in TIER_BUDGETS.items()}
    return Evaluation(
        num_rows=len(data),
        log_loss=log_loss(hazards, data),
        tau=rank_correlation(median, data),
        brier=_by_tier([brier(survival[:, k], data, b) for k, b in _tier_bins()]),
        calibration_error=_by_tier(
            [calibration_error(survival[:, k], data, b) for k, b in _tier_bins()]
        ),
        rows_covering={name: int(rows.sum()) for name, rows in decided.items()},
        bound=coverage(bound, survival, data),
        bound_by_slice=_coverage_by_slice(bound, survival, data),
        unbounded_share=float((bound == NUM_NEED_BINS).mean()),
        tier=coverage(np.array(TIER_BINS)[tiers], survival, data),
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


def is_decided(data: Dataset, tokens: NDArray[np.int64] | int) -> NDArray[np.bool_]:
    """Rows whose budget covers `tokens` and that were not cut before (cancel, deadline)."""
    decided: NDArray[np.bool_] = data.horizon_tokens >= tokens
    return decided


def exceeds(data: Dataset, tokens: NDArray[np.int64] | int) -> NDArray[np.bool_]:
    """Whether the need is above `tokens`, for rows where that is decided."""
    above: NDArray[np.bool_] = (data.thinking_tokens > tokens) | ~data.need_known
    return above


def brier(predicted: Floats, data: Dataset, tokens: int) -> float:
    """Mean squared error of P(need > tokens); NaN when no budget covers them."""
    decided = is_decided(data, tokens)
    errors = (predicted - exceeds(data, tokens))[decided]
    return float(np.mean(errors**2)) if decided.any() else float("nan")


def calibration_error(predicted: Floats, data: Dataset, tokens: int) -> float:
    """Expected calibration error of P(need > tokens) over NUM_CALIBRATION_BINS equal widths.

    Source: Naeini, Cooper and Hauskrecht (2015), "Obtaining Well Calibrated Probabilities".
    """
    decided = is_decided(data, tokens)
    if not decided.any():
        return float("nan")
    gaps = (predicted - exceeds(data, tokens))[decided]
    bins = np.minimum(
        (predicted[decided] * NUM_CALIBRATION_BINS).astype(int), NUM_CALIBRATION_BINS - 1
    )
    sums = np.bincount(bins, weights=gaps, minlength=NUM_CALIBRATION_BINS)
    return float(np.abs(sums).sum() / len(gaps))


def coverage(bound: NDArray[np.int64], survival: Floats, data: Dataset) -> Coverage:
    """How often the need is within the edge of bin `bound` (num_rows,), where that is decided."""
    rows = np.flatnonzero(bound < NUM_NEED_BINS)
    rows = rows[is_decided(data.rows(rows), _EDGES[bound[rows]])]
    if not len(rows):
        nothing = float("nan")
        return Coverage(observed=nothing, half_width=nothing, expected=nothing, num_rows=0)
    observed = float(1.0 - exceeds(data.rows(rows), _EDGES[bound[rows]]).mean())
    return Coverage(
        observed=observed,
        half_width=1.96 * (observed * (1.0 - observed) / len(rows)) ** 0.5,
        expected=float(1.0 - survival[rows, bound[rows]].mean()),
        num_rows=len(rows),
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


def _coverage_by_slice(
    bound: NDArray[np.int64], survival: Floats, data: Dataset
) -> dict[str, Coverage]:
    """By family of the prompt, and by third of the predicted median."""
    slices = {
        f"family {name}": data.families == name for name in sorted(set(data.families)) if name
    }
    median = median_need(survival)
    edges = np.quantile(median, [1 / 3, 2 / 3], method="inverted_cdf")
    third = np.searchsorted(edges, median)
    slices |= {f"{name} third": third == i for i, name in enumerate(("easy", "middle", "hard"))}
    return {
        name: coverage(bound[chosen], survival[chosen], data.rows(chosen))
        for name, chosen in slices.items()
        if chosen.sum() >= MIN_SLICE_ROWS
    }


def _tier_bins() -> list[tuple[int, int]]:
    return list(zip(TIER_BINS, TIER_BUDGETS.values(), strict=True))


def _by_tier(values: list[float]) -> dict[str, float]:
    return dict(zip(TIER_BUDGETS, values, strict=True))
