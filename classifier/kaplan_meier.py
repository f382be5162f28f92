"""The distribution of a need of which some are only known to be greater: Kaplan and Meier.

Source: E. L. Kaplan and P. Meier (1958), "Nonparametric Estimation from Incomplete Observations",
J. Am. Stat. Assoc. 53(282). It holds as long as being cut at some point says no more about the
need than that it is greater; an equal need and cut count as the need first.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """`needs` (num_needs,) rise; `masses` are their probabilities. What is missing to 1 lies above
    the last need, somewhere.
    """

    needs: Floats
    masses: Floats

    @classmethod
    def fit(cls, spent: Floats, is_need: NDArray[np.bool_]) -> Self:
        """Both of shape (num_rows,); where `is_need` is false the need is above `spent`."""
        needs, num_events = np.unique(spent[is_need], return_counts=True)
        num_at_risk = len(spent) - np.searchsorted(np.sort(spent), needs, side="left")
        survival = np.cumprod(1.0 - num_events / num_at_risk)
        return cls(needs.astype(np.float64), -np.diff(survival, prepend=1.0))

    @classmethod
    def fit_strata(
        cls, spent: Floats, is_need: NDArray[np.bool_], strata: NDArray[np.int64]
    ) -> Self:
        """The mixture of one curve per stratum: where cuts depend on the need only through it.

        What a stratum cannot place, as all of it was cut there, is placed as the curve of all is.
        """
        overall = cls.fit(spent, is_need)
        parts = []
        for stratum in np.unique(strata):
            rows = strata == stratum
            part = cls.fit(spent[rows], is_need[rows]).continued(overall, float(spent[rows].max()))
            parts.append((part.needs, part.masses * rows.mean()))
        needs, place = np.unique(np.concatenate([n for n, _ in parts]), return_inverse=True)
        masses = np.bincount(place, np.concatenate([m for _, m in parts]))
        return cls(needs, masses.astype(np.float64))

    @property
    def unknown(self) -> float:
        """P(the need is above everything that was seen)."""
        left = 1.0 - float(self.masses.sum())
        return left if left > _ROUNDING else 0.0

    def continued(self, other: Self, tokens: float) -> Self:
        """What is unknown here spread as `other` is above `tokens`, as far as it knows."""
        above = other.needs > tokens
        left = 1.0 - other.covered(tokens)
        if not self.unknown or not above.any():
            return self
        share = self.unknown / left
        return type(self)(
            np.concatenate([self.needs, other.needs[above]]),
            np.concatenate([self.masses, other.masses[above] * share]),
        )

    def covered(self, tokens: float) -> float:
        """P(need <= tokens)."""
        return float(self.masses[self.needs <= tokens].sum())

    def quantile(self, probability: float) -> float:
        """The smallest need that covers so much; inf when that is not known."""
        reached = np.flatnonzero(np.cumsum(self.masses) >= probability - _ROUNDING)
        return float(self.needs[reached[0]]) if len(reached) else float("inf")

    def mean_up_to(self, tokens: float) -> float:
        """E[min(need, tokens)]."""
        within = self.needs <= tokens
        spent = float((self.masses * self.needs)[within].sum())
        return spent + (1.0 - float(self.masses[within].sum())) * tokens
