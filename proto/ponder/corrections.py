"""The online correction of coverage: one bounded number per model, classifier, tenant and tier.

It shifts the logit of P(need > budget of the tier). After each outcome (ponder/outcomes.py) the
ledger's script moves it by `step * (missed - expected)`, where `expected` is the probability that
was used, correction included: it comes to rest where as many budgets are too small as promised.
The counts of needs do the same for good, but only once the new needs outnumber the old.

Source: I. Gibbs and E. Candes (2021), "Adaptive Conformal Inference Under Distribution Shift",
NeurIPS 34: alpha <- alpha + gamma (alpha* - miss). On the logit of the probability it is online
gradient descent on the log loss of an intercept, and the probability stays one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from ponder.outcomes import TIERS

MAX_SHIFT: Final = 2.5
"""Bound of a correction, either way. It takes a probability of 0.1 to 0.009 or to 0.58: enough for
needs that double (a shift of 1.2 to 1.8 where their logarithm has a spread of 0.8 to 0.5), and too
little to send everything to one tier."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """A shift of the logit for each tier, simple first, within +-MAX_SHIFT whatever Redis held.

    `num_rejected` values could not be right and count as 0.
    """

    shifts: tuple[float, ...] = (0.0,) * len(TIERS)
    num_rejected: int = 0

    @classmethod
    def from_hash(cls, found: Mapping[bytes, bytes]) -> Self:
        """Tiers without a field have no correction; fields that name no tier are ignored."""
        values = [found.get(str(int(tier)).encode()) for tier in TIERS]
        shifts = [0.0 if value is None else _parse(value) for value in values]
        rejected = sum(shift is None for shift in shifts)
        return cls(tuple(shift or 0.0 for shift in shifts), rejected)


def _parse(value: bytes) -> float | None:
    try:
        shift = float(value)
    except ValueError:
        return None
    return shift if -MAX_SHIFT <= shift <= MAX_SHIFT else None
