"""The predicted need as a survival curve over thinking tokens. Pure; used by the policy."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ponder.bins import NEED_BIN_EDGES

Hazards = NDArray[np.float64]
_TOKENS: Final = (0, *NEED_BIN_EDGES)


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """P(need > tokens) at 0 and at each bin edge; between edges a straight line.

    Nothing is known above the last edge: there the curve stays at its last value.
    """

    points: tuple[float, ...]

    @classmethod
    def from_hazards(cls, hazards: Hazards) -> Self:
        """`hazards` has shape (NUM_NEED_BINS,), each 0 to 1."""
        return cls((1.0, *np.cumprod(1.0 - hazards).tolist()))

    def corrected(self, budgets: Sequence[int], shifts: Sequence[float]) -> Self:
        """Shifts the logit of P(need > tokens) by `shifts` at the rising `budgets`, between them by
        what lies between, and beyond them as at the nearest. Neither 0 nor 1 can be shifted.

        It falls everywhere still: nowhere below what it is further on, so that where the shifts
        contradict each other the larger probability, hence the larger budget, stands.
        """
        if not any(shifts):
            return self
        points = np.array(self.points)
        shift = np.interp(_TOKENS, budgets, shifts)
        # The odds are multiplied; written so that no division by 0 arises at 0 or 1.
        shifted = points * np.exp(shift) / (1.0 - points + points * np.exp(shift))
        return type(self)(tuple(np.maximum.accumulate(shifted[::-1])[::-1].tolist()))

    def at(self, tokens: float) -> float:
        """P(need > tokens)."""
        # A request asks some thirty times; numpy's interp takes ten times as long for one number.
        if tokens <= 0:
            return self.points[0]
        right = bisect_right(_TOKENS, tokens)
        if right == len(_TOKENS):
            return self.points[-1]
        low, high = _TOKENS[right - 1], _TOKENS[right]
        above, below = self.points[right - 1], self.points[right]
        return above + (below - above) / (high - low) * (tokens - low)

    def quantile_tokens(self, probability: float) -> int:
        """Fewest tokens that suffice with this probability, or the last edge when none does."""
        target = 1.0 - probability
        steps = zip(pairwise(_TOKENS), pairwise(self.points), strict=True)
        for (low, high), (above, below) in steps:
            if below <= target:
                share = (above - target) / (above - below) if above > target else 0.0
                return math.ceil(low + share * (high - low))
        return _TOKENS[-1]

    def is_worth(self, worth_tokens: float, spent: int, budget_tokens: int) -> bool:
        """Whether going on from `spent` up to the budget costs at most `worth_tokens` for each
        request that ends by itself on the way. True where nobody was predicted to live so long.

        The ratio is the efficiency function of Gittins' index: Aalto, Ayesta and Righter (2009),
        "On the Gittins index in the M/G/1 queue".
        """
        alive = self.at(spent)
        if alive == 0.0:
            return True
        ending = 1.0 - self.at(budget_tokens) / alive
        return self.expected_tokens(spent, budget_tokens) <= ending * worth_tokens

    def expected_tokens(self, spent: int, budget_tokens: int) -> float:
        """Mean thinking tokens still to come of a request that spent so many, up to its budget."""
        if spent >= budget_tokens:
            return 0.0
        inner = [edge for edge in NEED_BIN_EDGES if spent < edge < budget_tokens]
        ticks = [spent, *inner, budget_tokens]
        levels = [self.at(tick) for tick in ticks]
        steps = zip(pairwise(ticks), pairwise(levels), strict=True)
        area = sum((high - low) * (above + below) / 2 for (low, high), (above, below) in steps)
        alive = levels[0]
        # Nobody was predicted to live this long, so nothing is known but the budget.
        return area / alive if alive > 0.0 else float(budget_tokens - spent)


def median_bin(hazards: Hazards) -> int:
    """The bin that holds the median need, 0 to NUM_NEED_BINS; the last means "beyond"."""
    return int(np.count_nonzero(np.cumprod(1.0 - hazards) > 0.5))


def posterior_hazards(
    prior: Hazards, events: NDArray[np.int64], at_risk: NDArray[np.int64], weight: float
) -> Hazards:
    """Hazards after `events` of `at_risk` requests; the prior counts as `weight` requests.

    All of shape (NUM_NEED_BINS,), 0 <= events <= at_risk, weight above 0. The result lies between
    the prior and events / at_risk. Source: mean of a beta posterior, with the prior's mean and
    sample size for parameters (Gelman et al., "Bayesian Data Analysis", section 2.4).
    """
    posterior: Hazards = (weight * prior + events) / (weight + at_risk)
    return posterior
