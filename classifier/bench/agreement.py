"""How well predictions agree with people's tiers and with real outcomes, with 95 % intervals.

Intervals are percentiles over resampled rows (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993). All predictors of a split are resampled together, so that differences are paired.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from classifier.general.collected import Collection
from classifier.survival import Floats

NUM_RESAMPLES: Final = 200
_SEED: Final = 0
_INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Predicted:
    """Of each prompt an index into the tiers, and a score that grows with the predicted need."""

    tiers: NDArray[np.int64]
    scores: Floats

    def rows(self, chosen: NDArray[np.int64]) -> Self:
        """The rows of indices, in their order."""
        return type(self)(self.tiers[chosen], self.scores[chosen])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and its values on resampled rows."""

    value: float
    resampled: Floats

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        low, high = np.percentile(self.resampled, _INTERVAL)
        return float(low), float(high)

    def __sub__(self, other: Self) -> Self:
        """Paired: both have to come from the same rows."""
        return type(self)(self.value - other.value, self.resampled - other.resampled)

    @classmethod
    def mean(cls, estimates: list[Self], weights: list[int] | None = None) -> Self:
        """Over splits, each as heavy as the others unless `weights` are given."""
        value = np.average([estimate.value for estimate in estimates], weights=weights)
        resampled = [estimate.resampled for estimate in estimates]
        return cls(float(value), np.average(resampled, axis=0, weights=weights))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of each prompt: a tier, or the outcomes. See Collection."""

    tiers: NDArray[np.int64]
    answer_tokens: Floats
    pass_rates: Floats

    @classmethod
    def of(cls, data: Collection) -> Self:
        """Of every row."""
        return cls(data.tiers, data.answer_tokens, data.pass_rates)

    def rows(self, chosen: NDArray[np.int64]) -> Self:
        """The rows of indices, in their order."""
        return type(self)(self.tiers[chosen], self.answer_tokens[chosen], self.pass_rates[chosen])


Measure = Callable[[Predicted, Truth], float]


def exact(predicted: Predicted, truth: Truth) -> float:
    """Share of prompts whose tier was hit."""
    return float((predicted.tiers == truth.tiers).mean())


def within_one(predicted: Predicted, truth: Truth) -> float:
    """Share of prompts whose tier was missed by one at most."""
    return float((np.abs(predicted.tiers - truth.tiers) <= 1).mean())


def tau(predicted: Predicted, truth: Truth) -> float:
    """Kendall's tau of the score with the tokens of the answers; a constant ranks nothing: 0."""
    return _finite(kendalltau(predicted.scores, truth.answer_tokens).statistic)


def spearman(predicted: Predicted, truth: Truth) -> float:
    """Spearman's rho of the score with the tokens of the answers."""
    if np.ptp(predicted.scores) == 0.0:
        return 0.0
    return _finite(spearmanr(predicted.scores, truth.answer_tokens).statistic)


def failure_tau(predicted: Predicted, truth: Truth) -> float:
    """Kendall's tau of the score with the share of models that were wrong."""
    return _finite(kendalltau(predicted.scores, 1.0 - truth.pass_rates).statistic)


TIER_MEASURES: Final[Mapping[str, Measure]] = {"tier_exact": exact, "tier_within_one": within_one}
OUTCOME_MEASURES: Final[Mapping[str, Measure]] = {
    "tau": tau,
    "spearman": spearman,
    "failure_tau": failure_tau,
}


def estimates(predicted: Predicted, data: Collection) -> dict[str, Estimate]:
    """The measures that the rows allow: those of tiers, or those of outcomes."""
    truth = Truth.of(data)
    samples = list(_resampled_rows(len(data)))
    found = {}
    for name, measure in (TIER_MEASURES if data.has_tier.all() else OUTCOME_MEASURES).items():
        values = [measure(predicted.rows(rows), truth.rows(rows)) for rows in samples]
        found[name] = Estimate(measure(predicted, truth), np.array(values))
    return found


def _resampled_rows(num_rows: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(_SEED)
    return (rng.integers(num_rows, size=num_rows) for _ in range(NUM_RESAMPLES))


def _finite(value: float) -> float:
    return 0.0 if np.isnan(value) else float(value)
