"""What a human tier, or the length of a measured answer, says about the need: a wide distribution.

Neither is a need. The one mapping from them to needs is here, and it says three things:

Models differ by an order of magnitude. A terse model reasons about as long as models without
hidden thinking write before they answer; a verbose one thinks five to ten times as long, on easy
prompts longer still: easy puzzles and riddles were seen to take DeepSeek-R1 1,000 to 2,000 tokens,
and half of the requests of a service that runs it take less than about 600. Which of them a prompt
will meet is not known, so every label is both: TERSE_SHARE of the one, the rest of the other, each
log-normal. TERSE_TOKENS keep to the measured chains of thought where there are any (medians of 60
to 110 tokens for questions of knowledge, 150 to 290 for school and competition mathematics), and
go beyond for what most models fail at, where an answer's length says only that it was too short.

A tier is a budget that people found fitting, so of its own tier most terse models finish within
the budget, and of the tier above most do not.

An answer that was wrong did not show the need: it was cut short by the model's own limits. So of a
prompt that a share of models failed, that share counts as censored where their answers ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from classifier.survival import Floats
from ponder.bins import NEED_BIN_EDGES

TERSE_TOKENS: Final[Mapping[str, float]] = MappingProxyType(
    {"simple": 8.0, "moderate": 120.0, "complex": 700.0, "research": 4000.0}
)
"""Median need of a terse model, thinking tokens."""
VERBOSE_TOKENS: Final[Mapping[str, float]] = MappingProxyType(
    {"simple": 400.0, "moderate": 1200.0, "complex": 4000.0, "research": 15_000.0}
)
"""Median need of a verbose model, thinking tokens."""
TERSE_SHARE: Final = 0.8
SPREAD: Final = 1.0
"""Standard deviation of the log of the need within either kind of model."""
VERBOSE_FACTOR: Final = 8.0
"""A verbose model's thinking over the answer that was measured of models without thinking."""
_SHORTEST_ANSWER: Final = 2.0
_EDGES: Final = np.array(NEED_BIN_EDGES, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """Shares of a request that stopped in each bin, and that were at risk in it.

    Both have shape (num_rows, NUM_NEED_BINS), 0 <= events <= at_risk <= 1.
    """

    events: Floats
    at_risk: Floats

    @classmethod
    def of_tiers(cls, tiers: NDArray[np.str_]) -> Self:
        """Tier names (num_rows,)."""
        curves = {tier: tier_survival(tier) for tier in TERSE_TOKENS}
        return cls._of_survival(np.stack([curves[tier] for tier in tiers]))

    @classmethod
    def of_answers(cls, tokens: Floats, pass_rates: Floats) -> Self:
        """Median lengths of the models' answers and the share of models that were right."""
        terse = np.maximum(tokens, _SHORTEST_ANSWER)
        known = cls._of_survival(_survival(terse, VERBOSE_FACTOR * terse))
        right = pass_rates[:, np.newaxis]
        reached = terse[:, np.newaxis] >= _EDGES
        return cls(right * known.events, right * known.at_risk + (1.0 - right) * reached)

    @classmethod
    def _of_survival(cls, survival: Floats) -> Self:
        before = np.concatenate([np.ones((len(survival), 1)), survival[:, :-1]], axis=1)
        return cls(before - survival, before)

    def __add__(self, other: Self) -> Self:
        """The rows of both."""
        joined = (
            np.concatenate(pair) for pair in zip(self._arrays(), other._arrays(), strict=True)
        )
        return type(self)(*joined)

    def rows(self, chosen: NDArray[np.bool_]) -> Self:
        """The rows of a mask."""
        return type(self)(self.events[chosen], self.at_risk[chosen])

    def _arrays(self) -> tuple[Floats, Floats]:
        return self.events, self.at_risk


def tier_survival(tier: str) -> Floats:
    """P(need > edge), (NUM_NEED_BINS,), of a prompt of which only its tier is known."""
    terse, verbose = (np.array([tokens[tier]]) for tokens in (TERSE_TOKENS, VERBOSE_TOKENS))
    survival: Floats = _survival(terse, verbose)[0]
    return survival


def hazard_bounds() -> tuple[Floats, Floats]:
    """The lowest and the highest hazard of each bin, (NUM_NEED_BINS,) both, in any tier's label.

    A prompt unlike all others must not be predicted with more certainty than a label has.
    """
    labels = SoftLabels.of_tiers(np.array(list(TERSE_TOKENS)))
    hazards = labels.events / labels.at_risk
    return hazards.min(axis=0), hazards.max(axis=0)


def _survival(terse: Floats, verbose: Floats) -> Floats:
    return TERSE_SHARE * _log_normal(terse) + (1.0 - TERSE_SHARE) * _log_normal(verbose)


def _log_normal(medians: Floats) -> Floats:
    """P(need > edge), (num_rows, NUM_NEED_BINS)."""
    survival: Floats = ndtr(np.log(medians[:, np.newaxis] / _EDGES) / SPREAD)
    return survival
