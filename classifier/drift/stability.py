"""How far the distribution of a number has moved: the population stability index, PSI.

    PSI = sum over bins of (recent share - reference share) * ln(recent share / reference share)

The bins are deciles of the reference. Above 0.1 a shift is worth a look, above 0.25 it is large:
the usual limits of credit scoring, e.g. N. Siddiqi (2006), "Credit Risk Scorecards". Without any
shift PSI is (1/n + 1/m) times a chi-squared of (bins - 1) degrees of freedom, for n and m rows
(B. Yurdakul and J. Naranjo (2020), "Statistical properties of the population stability index",
J. Risk Model Validation 14(4)): with few rows a large one says nothing, and among many features one
is large by chance. So a shift must also be above what chance makes of that many comparisons.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.errors import ClassifierError
from classifier.features import NUM_LEXICAL
from classifier.lexical import LEXICAL_NAMES
from classifier.survival import Floats, median_need, survival_of
from ponder.bins import NEED_BIN_EDGES

MIN_ROWS: Final = 200
"""Fewer rows, on either side, are not judged."""

WARN_PSI: Final = 0.1
ALARM_PSI: Final = 0.25
SCORE: Final = "predicted median"

_FALSE_ALARMS: Final = 0.001
_DECIMALS: Final = 6
_BEYOND_TOKENS: Final = 2.0 * NEED_BIN_EDGES[-1]


@dataclass(frozen=True, slots=True)
class Binned:
    """Counts of a reference between its deciles: count i is of values up to edge i and above the
    one before, the last of those above all edges. Equal deciles are one.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: Floats) -> Self:
        """`values` has shape (num_rows,), none of them NaN."""
        rounded = np.round(values.astype(np.float64), _DECIMALS)
        deciles = np.quantile(rounded, np.arange(1, 10) / 10.0, method="inverted_cdf")
        edges = np.unique(deciles)
        return cls(tuple(edges.tolist()), tuple(_counts(rounded, edges).tolist()))

    @property
    def num_rows(self) -> int:
        return sum(self.counts)

    def psi(self, values: Floats) -> float:
        """Of recent values (num_rows,) against the reference. Half a row is added to each bin, so
        that an empty one does not make it infinite.
        """
        recent = _counts(np.round(values.astype(np.float64), _DECIMALS), np.array(self.edges))
        now, before = _shares(recent), _shares(np.array(self.counts))
        return float(((now - before) * np.log(now / before)).sum())

    def chance(self, num_recent: int, num_comparisons: int) -> float:
        """What PSI stays below in 999 of 1,000 sets of comparisons when nothing has shifted."""
        freedom = max(1, len(self.edges))
        quantile = _chi_squared(1.0 - _FALSE_ALARMS / num_comparisons, freedom)
        return quantile * (1.0 / num_recent + 1.0 / self.num_rows)


@dataclass(frozen=True, slots=True)
class Reference:
    """Lexical features and scores of the rows to compare with, by name."""

    distributions: Mapping[str, Binned]

    @classmethod
    def of(cls, features: NDArray[np.float32], hazards: Floats) -> Self:
        """`features` (num_rows, NUM_LEXICAL or more), `hazards` (num_rows, NUM_NEED_BINS)."""
        lexical = cls.of_features(features).distributions
        return cls({**lexical, SCORE: Binned.of(scores(hazards))})

    @classmethod
    def of_features(cls, features: Floats) -> Self:
        """Without scores, of features (num_rows, NUM_LEXICAL or more)."""
        columns = zip(LEXICAL_NAMES, features[:, :NUM_LEXICAL].T, strict=True)
        return cls({name: Binned.of(column) for name, column in columns})

    def moved(self, features: Floats) -> list[tuple[float, str]]:
        """PSI and name of the lexical features that moved by more than chance explains; features
        (num_rows, NUM_LEXICAL or more).
        """
        found = []
        for name, column in zip(LEXICAL_NAMES, features[:, :NUM_LEXICAL].T, strict=True):
            binned = self.distributions[name]
            psi = binned.psi(column)
            if psi > binned.chance(len(features), NUM_LEXICAL):
                found.append((psi, name))
        return found

    def to_json(self) -> str:
        """The same bytes for the same contents."""
        record = {name: asdict(binned) for name, binned in self.distributions.items()}
        return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Raises ClassifierError for what to_json did not write."""
        try:
            record = json.loads(line)
            named = {
                name: Binned(tuple(map(float, of["edges"])), tuple(map(int, of["counts"])))
                for name, of in record.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ClassifierError(f"its reference for drift is unreadable: {error!r}") from error
        whole = all(len(of.counts) == len(of.edges) + 1 for of in named.values())
        if not whole or named.keys() != {*LEXICAL_NAMES, SCORE}:
            raise ClassifierError("its reference for drift is incomplete: train it again")
        return cls(named)


def scores(hazards: Floats) -> Floats:
    """Predicted median needs in tokens (num_rows,); twice the last edge where it is beyond it."""
    medians = median_need(survival_of(np.asarray(hazards, dtype=np.float64)))
    return np.minimum(medians, _BEYOND_TOKENS)


def _counts(values: Floats, edges: Floats) -> NDArray[np.int64]:
    places = np.searchsorted(edges, values, side="left")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.int64)


def _shares(counts: NDArray[np.int64]) -> Floats:
    smoothed: Floats = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return smoothed


def _chi_squared(probability: float, freedom: int) -> float:
    """Quantile. Source: E. B. Wilson and M. M. Hilferty (1931), "The Distribution of Chi-Square",
    PNAS 17(12); within 2 % here.
    """
    spread = 2.0 / (9.0 * freedom)
    cube = 1.0 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)
    return freedom * max(0.0, cube) ** 3
