"""Places budgets: each as little above the needs it serves, and as far from those above, as can be.

A request whose need T falls to the budget b, with the budget a below it, costs

    ln(b / T)     what its budget reserves beyond the need: memory, a place in the batch, time
    2 a / T       the share of its thinking that a request held to the budget below does in vain

so a budget just above a mode is cheap, and one just below a mode costs nearly 2 for all of it. The
weight 2 is a choice: 1 lets budgets cut further into a mode, 3 crowds them between two modes. The
budgets with the smallest mean cost are found exactly, by dynamic programming over all of the
candidates: the cost of a request depends on two neighbouring budgets only.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.kaplan_meier import Floats, KaplanMeier
from ponder.bins import NEED_BIN_EDGES

NUM_BUDGETS: Final = 4
_VAIN_WEIGHT: Final = 2.0


def place_budgets(
    curve: KaplanMeier, candidates: Floats, coverage: float, largest_seen: float
) -> tuple[int, ...]:
    """Four of `candidates`, which rise. The last covers `coverage` of the needs; it reaches the
    largest spending that was seen when the curve does not tell so much, and is the last candidate
    when none does either.
    """
    least = min(curve.quantile(coverage), largest_seen, float(candidates[-1]))
    sums = _Sums.of(curve, candidates)
    first, *_ = steps = sums.steps()
    costs, origins = first, []
    for _ in range(NUM_BUDGETS - 1):
        totals = costs[:, None] + steps[1:]
        origins.append(totals.argmin(axis=0))
        costs = totals.min(axis=0)
    last = np.where(candidates >= least, costs + sums.beyond(), np.inf)
    return _path(candidates, origins, int(last.argmin()))


def bin_edges() -> Floats:
    """The edges of the bins of the need: budgets there lose nothing of what is learned."""
    return np.array(NEED_BIN_EDGES, dtype=np.float64)


def round_numbers(largest: float) -> Floats:
    """Numbers of two digits and zeros, to the first that is not below `largest`; at least four.

    They begin with the first bin edge: smaller needs are not told apart.
    """
    numbers = list(range(NEED_BIN_EDGES[0], 100))
    scale = 10
    while numbers[-1] < largest:
        numbers += [scale * digits for digits in range(10, 100)]
        scale *= 10
    found = np.array(numbers, dtype=np.float64)
    return found[: max(NUM_BUDGETS, int(np.searchsorted(found, largest)) + 1)]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the needs up to each candidate: of P, P ln T and P / T, and the last in all."""

    candidates: Floats
    mass: Floats
    logs: Floats
    inverses: Floats
    all_inverses: float

    @classmethod
    def of(cls, curve: KaplanMeier, candidates: Floats) -> "_Sums":
        needs = np.maximum(curve.needs, 1.0)
        place = np.searchsorted(needs, candidates, side="right")
        terms = (curve.masses, curve.masses * np.log(needs), curve.masses / needs)
        sums = [np.concatenate([[0.0], np.cumsum(term)]) for term in terms]
        mass, logs, inverses = (total[place] for total in sums)
        return cls(candidates, mass, logs, inverses, float(sums[2][-1]))

    def steps(self) -> Floats:
        """Cost of the needs between two budgets: row 0 from nothing, row 1 + i from candidate i;
        shape (num_candidates + 1, num_candidates); inf where the second is not the larger.
        """
        below = np.concatenate([[0.0], self.candidates])[:, None]
        mass, logs, inverses = (
            total[None, :] - np.concatenate([[0.0], total])[:, None]
            for total in (self.mass, self.logs, self.inverses)
        )
        costs = np.log(self.candidates)[None, :] * mass - logs + _VAIN_WEIGHT * below * inverses
        return np.where(self.candidates[None, :] > below, costs, np.inf)

    def beyond(self) -> Floats:
        """Cost of the needs above each candidate, if it is the last; (num_candidates,)."""
        cost: Floats = _VAIN_WEIGHT * self.candidates * (self.all_inverses - self.inverses)
        return cost


def _path(candidates: Floats, origins: list[NDArray[np.intp]], last: int) -> tuple[int, ...]:
    places = [last]
    for origin in reversed(origins):
        places.append(int(origin[places[-1]]))
    return tuple(int(candidates[place]) for place in reversed(places))
