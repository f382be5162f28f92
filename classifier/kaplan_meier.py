"""The distribution of a need of which some are only known to be greater: Kaplan and Meier.

Source: E. L. Kaplan and P. Meier (1958), "Nonparametric Estimation from Incomplete Observations",
J. Am. Stat. Assoc. 53(282). It holds as long as being cut at some point says no more about the
need than that it is greater; an equal need and cut count as the need first.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """`needs` (num_needs,) rise; `masses` are their probabilities. What is missing to 1 lies above
    the last need, somewhere. `num_at_risk` counts who reached each need.
    """

    needs: Floats
    masses: Floats
    num_at_risk: NDArray[np.int64]

    @classmethod
    def fit(cls, spent: Floats, is_need: NDArray[np.bool_]) -> Self:
        """Both of shape (num_rows,); where `is_need` is false the need is above `spent`."""
        needs, num_events = np.unique(spent[is_need], return_counts=True)
        num_at_risk = len(spent) - np.searchsorted(np.sort(spent), needs, side="left")
        survival = np.cumprod(1.0 - num_events / num_at_risk)
        masses = -np.diff(survival, prepend=1.0)
        return cls(needs.astype(np.float64), masses, num_at_risk.astype(np.int64))

    def covered(self, tokens: float) -> float:
        """P(need <= tokens)."""
        return float(self.masses[self.needs <= tokens].sum())

    def quantile(self, probability: float) -> float:
        """The smallest need that covers so much; inf when that is not known."""
        reached = np.flatnonzero(np.cumsum(self.masses) >= probability - 1e-12)
        return float(self.needs[reached[0]]) if len(reached) else float("inf")

    def mean_up_to(self, tokens: float) -> float:
        """E[min(need, tokens)]."""
        within = self.needs <= tokens
        spent = float((self.masses * self.needs)[within].sum())
        return spent + (1.0 - float(self.masses[within].sum())) * tokens
