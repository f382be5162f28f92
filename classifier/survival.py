"""Reading a survival curve: which budget suffices, and the median need.

S[k] is the probability that the need is above NEED_BIN_EDGES[k]. For training and evaluation; the
router reads its own curve, corrected by its counts, in its policy.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

Floats = NDArray[np.floating]

COVERAGE: Final = 0.9
"""Probability with which a budget should suffice, unless a request asks for another."""

COLD_COVERAGE: Final = 0.4
"""The same where only the general classifier predicts: it starts low, what was thought resumes."""

TIER_BUDGETS: Final = {"simple": 50, "moderate": 500, "complex": 2000, "research": 10_000}
"""The default budgets in thinking tokens; each is a bin edge."""

TIER_BINS: Final = tuple(NEED_BIN_EDGES.index(budget) for budget in TIER_BUDGETS.values())


def survival_of(hazards: Floats) -> Floats:
    """Survival (num_rows, NUM_NEED_BINS) of hazards of the same shape."""
    survival: Floats = np.cumprod(1.0 - hazards, axis=1)
    return survival


def smallest_sufficient_tier(survival: Floats, coverage: float = COVERAGE) -> NDArray[np.int64]:
    """Index of the smallest tier with S(budget) <= 1 - coverage; the largest when none has it."""
    misses = survival[:, TIER_BINS[:-1]] > 1.0 - coverage
    tiers: NDArray[np.int64] = misses.sum(axis=1, dtype=np.int64)
    return tiers


def covering_bin(survival: Floats) -> NDArray[np.int64]:
    """Index of the first bin edge that suffices with probability COVERAGE; NUM_NEED_BINS: none."""
    bins: NDArray[np.int64] = (survival > 1.0 - COVERAGE).sum(axis=1, dtype=np.int64)
    return bins


def quantile_tokens(survival: Floats, probability: float) -> float | None:
    """Thinking tokens that suffice with this probability, for one curve (NUM_NEED_BINS,).

    Between edges S is taken to fall linearly, as the router does; None above the last edge.
    """
    target = 1.0 - probability
    if survival[-1] > target:
        return None
    points = np.concatenate([[1.0], survival])[::-1]
    return float(np.interp(target, points, (0, *NEED_BIN_EDGES)[::-1]))


def median_need(survival: Floats) -> Floats:
    """Thinking tokens (num_rows,) that suffice in half of the cases; inf above the last edge.

    For ranking and display: inside a bin, where nothing was learned, log S is taken to fall
    linearly in the log of the tokens (a need of 1 opens the first bin).
    """
    log_edges = np.log([1, *NEED_BIN_EDGES])
    log_survival = np.log(np.maximum(survival, 1e-12))
    log_survival = np.concatenate([np.zeros((len(survival), 1)), log_survival], axis=1)
    target = np.log(0.5)
    bins = (log_survival[:, 1:] > target).sum(axis=1)
    rows, left = np.arange(len(survival)), np.minimum(bins, NUM_NEED_BINS - 1)
    above, below = log_survival[rows, left], log_survival[rows, left + 1]
    share = np.clip((above - target) / np.maximum(above - below, 1e-12), 0.0, 1.0)
    tokens = np.exp(log_edges[left] + share * (log_edges[left + 1] - log_edges[left]))
    median: Floats = np.where(bins == NUM_NEED_BINS, np.inf, tokens)
    return median
