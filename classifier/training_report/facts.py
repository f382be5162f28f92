"""The numbers of the report that no evaluation holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.columns import SPLITS
from classifier.dataset import Dataset
from classifier.decisions import UNKNOWN_TIER
from classifier.evaluate import (
    NUM_CALIBRATION_BINS,
    Evaluation,
    calibration_bins,
    row_log_losses,
)
from classifier.features import NUM_LEXICAL
from classifier.following import Answers, effective_rows
from classifier.hazards import HazardModel
from classifier.lexical import LEXICAL_NAMES
from classifier.survival import Floats, covering_bin, median_need, survival_of
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS

_MAX_SHOWN_FEATURES: Final = 6


@dataclass(frozen=True, slots=True)
class Trained:
    """A training: `hazards` (num_rows, NUM_NEED_BINS) are those of the test rows of `data`, by
    which `evaluations` were made, the classifier's first.
    """

    name: str
    version: str
    model: HazardModel
    data: Dataset
    hazards: Floats
    evaluations: Mapping[str, Evaluation]

    @property
    def test(self) -> Dataset:
        return self.data.split("test")

    @property
    def judged(self) -> Evaluation:
        return next(iter(self.evaluations.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """`censored_share`: a budget cut it, or something else did. `decided_share`: with the logged
    decision that led to the budget.
    """

    name: str
    num_rows: int
    censored_share: float
    decided_share: float
    families: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """P(need > a budget) in bins of predicted probability, (num_bins,) each; bins that no row tells
    about are left out. `half_widths` are of the 95 % intervals of what was observed.
    """

    predicted: Floats
    observed: Floats
    half_widths: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Change of the logit of stopping, mean over the requests at risk, when a feature rises by one
    standard deviation: above 0 means less thinking.
    """

    feature: str
    logit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surprise:
    """A row that the prediction made unlikely. `bound_tokens` is None above the last bin edge."""

    text: str
    family: str
    log_loss: float
    thinking_tokens: int
    is_censored: bool
    median_tokens: float
    bound_tokens: int | None


def split_facts(data: Dataset) -> list[SplitFacts]:
    """One for each of SPLITS that has rows."""
    parts = ((name, data.rows(data.splits == name)) for name in SPLITS)
    return [_split_facts(name, part) for name, part in parts if len(part)]


def _split_facts(name: str, part: Dataset) -> SplitFacts:
    families, counts = np.unique(part.families, return_counts=True)
    named = zip(families.tolist(), counts.tolist(), strict=True)
    return SplitFacts(
        name=name,
        num_rows=len(part),
        censored_share=float(1.0 - part.need_known.mean()),
        decided_share=float((part.first_tiers != UNKNOWN_TIER).mean()),
        families={family: count for family, count in named if family},
    )


def reliability(predicted: Floats, answers: Answers) -> Reliability:
    """Of P(need > tokens) (num_rows,), in the bins of the calibration error."""
    bins = calibration_bins(predicted)
    groups = [
        np.flatnonzero((bins == k) & (answers.weights > 0)) for k in range(NUM_CALIBRATION_BINS)
    ]
    points = [
        _point(predicted[g], answers.exceeds[g], answers.weights[g]) for g in groups if len(g)
    ]
    columns = np.array(points).reshape(-1, 3).T
    return Reliability(predicted=columns[0], observed=columns[1], half_widths=columns[2])


def _point(
    predicted: Floats, exceeds: NDArray[np.bool_], weights: Floats
) -> tuple[float, float, float]:
    observed = float(np.average(exceeds, weights=weights))
    variance = observed * (1.0 - observed) / effective_rows(weights)
    return float(np.average(predicted, weights=weights)), observed, 1.96 * variance**0.5


def largest_effects(model: HazardModel, features: NDArray[np.float32], count: int) -> list[Effect]:
    """By size, largest first. Hashed n-grams have no name but their bucket's number."""
    weights, _ = model.parameters()
    at_risk = np.array([float(fit.at_risk) for fit in model.fits])
    mean = weights @ at_risk / max(1.0, at_risk.sum())
    logits = mean * _deviations(model, features)
    order = np.argsort(-np.abs(logits), kind="stable")[:count]
    return [Effect(feature=feature_name(int(k)), logit=float(logits[k])) for k in order]


def feature_name(column: int) -> str:
    """Of a column of the feature vector."""
    if column < NUM_LEXICAL:
        return LEXICAL_NAMES[column]
    return f"n-gram bucket {column - NUM_LEXICAL}"


def _deviations(model: HazardModel, features: NDArray[np.float32]) -> Floats:
    columns = np.arange(features.shape[1])
    scaled = model.scaling.apply_to_columns(features, columns)
    deviations: Floats = scaled.std(axis=0, dtype=np.float64)
    return deviations


def surprises(model: HazardModel, hazards: Floats, data: Dataset, count: int) -> list[Surprise]:
    """The rows with the largest log-loss under their `hazards`, worst first."""
    losses, survival = row_log_losses(hazards, data), survival_of(hazards)
    medians, bounds = median_need(survival), covering_bin(survival)
    return [
        Surprise(
            text=data.prompts[row] or _described(model, data.features[row]),
            family=str(data.families[row]),
            log_loss=float(losses[row]),
            thinking_tokens=int(data.thinking_tokens[row]),
            is_censored=not data.need_known[row],
            median_tokens=float(medians[row]),
            bound_tokens=NEED_BIN_EDGES[bounds[row]] if bounds[row] < NUM_NEED_BINS else None,
        )
        for row in np.argsort(-losses, kind="stable")[:count]
    ]


def _described(model: HazardModel, vector: NDArray[np.float32]) -> str:
    """The lexical features in which it differs most from the others, in place of the prompt."""
    scaled = np.abs(model.scaling.apply(vector[np.newaxis])[0, :NUM_LEXICAL])
    order = np.argsort(-scaled, kind="stable")[:_MAX_SHOWN_FEATURES]
    return ", ".join(f"{LEXICAL_NAMES[k]} {vector[k]:.2f}" for k in order)
