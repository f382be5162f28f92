"""Leave one source out: how predictions fare on a source that nothing was learned from.

Every source of the data is left out in turn. Where a source is alone in its domain, its domain is
unseen too. The second reading leaves out one set at a time, of a domain that other sets still
cover: what a deployment meets whose prompts are new but not strange.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classifier.bench.agreement import (
    OUTCOME_MEASURES,
    TIER_MEASURES,
    Estimate,
    estimates,
)
from classifier.bench.controls import GENERAL, LENGTH, Predictor
from classifier.general.collected import Collection
from classifier.general.train import with_generated

Found = dict[str, dict[str, Estimate]]
"""Estimates by predictor and measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What was left out, and how each predictor fared on it."""

    name: str
    num_rows: int
    found: Found

    @classmethod
    def of(
        cls, data: Collection, chosen: NDArray[np.bool_], predictors: Mapping[str, Predictor]
    ) -> Self:
        """Learns from the other rows and from the generated prompts."""
        test, training = data.rows(chosen), with_generated(data.rows(~chosen))
        found = {name: estimates(p(training, test), test) for name, p in predictors.items()}
        return cls(name=_name(test), num_rows=len(test), found=found)

    @property
    def loses_to_length(self) -> list[str]:
        """The measures in which the classifier is below length, and not by chance."""
        ours, lengths = self.found[GENERAL], self.found[LENGTH]
        return [name for name in ours if (ours[name] - lengths[name]).interval[1] < 0.0]


@dataclass(frozen=True, slots=True)
class Unseen:
    """The splits by source, and those by set within known domains."""

    by_source: tuple[Split, ...]
    by_set: tuple[Split, ...]

    def mean(self, predictor: str, measure: str) -> Estimate:
        """Over the sources that have this measure, each as heavy as the others."""
        splits = [s.found[predictor] for s in self.by_source if measure in s.found[predictor]]
        return Estimate.mean([found[measure] for found in splits])

    def known(self, predictor: str, measure: str) -> Estimate:
        """Over all prompts of the sets in known domains."""
        found = [split.found[predictor][measure] for split in self.by_set]
        return Estimate.mean(found, [split.num_rows for split in self.by_set])


def leave_out(
    data: Collection,
    predictors: Mapping[str, Predictor],
    report: Callable[[str], None],
    limit: int | None = None,
) -> Unseen:
    """`limit`: only so many splits of each of the three kinds."""

    def splits(masks: Iterator[NDArray[np.bool_]]) -> Iterator[Split]:
        for mask in list(masks)[:limit]:
            split = Split.of(data, mask, predictors)
            report(f"{split.name}: {split.num_rows} prompts left out")
            yield split

    tiers, outcomes = (list(splits(_sources(data, chosen))) for chosen in (True, False))
    return Unseen((*tiers, *outcomes), tuple(splits(_sets_of_known_domains(data))))


def measures() -> tuple[str, ...]:
    """Of tiers, then of outcomes."""
    return (*TIER_MEASURES, *OUTCOME_MEASURES)


def _sources(data: Collection, has_tier: bool) -> Iterator[NDArray[np.bool_]]:
    for source in np.unique(data.sources[data.has_tier == has_tier]):
        yield data.sources == source


def _sets_of_known_domains(data: Collection) -> Iterator[NDArray[np.bool_]]:
    for name in np.unique(data.sets[data.has_tier]):
        chosen = data.sets == name
        if (data.domains[~chosen] == data.domains[chosen][0]).any():
            yield chosen


def _name(data: Collection) -> str:
    sets = "+".join(np.unique(data.sets))
    return sets if sets else str(data.sources[0])
