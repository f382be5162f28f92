"""What recent traces say about a classifier: is it asked the same things, and is it still right?

Five findings. Prompt features and predicted median are compared with what the classifier was
trained on, or where its file does not say with older traces. Budget hits and the coverage residual
are followed over time. The share of its own predictions says whether it was asked at all.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import numpy as np

from classifier.drift.adwin import Adwin, Change
from classifier.drift.stability import (
    ALARM_PSI,
    MIN_ROWS,
    SCORE,
    WARN_PSI,
    Binned,
    Reference,
    scores,
)
from classifier.features import NUM_LEXICAL, vectorize
from classifier.survival import Floats
from ponder.bins import NUM_NEED_BINS
from ponder.outcomes import Outcome
from ponder.settlement import Settlement

RECENT_ROWS: Final = 2_000
"""Newest traces that are compared with the reference, and within which a change counts as new."""

_WARN_RESIDUAL, _ALARM_RESIDUAL = 0.02, 0.05
_DEVIATIONS: Final = 3.0
_LEAST_OWN_SHARE: Final = 0.95
_SHOWN_FEATURES: Final = 3


class Verdict(Enum):
    """By how much it matters."""

    OK = "ok"
    TOO_FEW = "too few"
    WARN = "warn"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `value` is None when there are too few rows."""

    name: str
    value: float | None
    verdict: Verdict
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        verdict = self.verdict.value
        return {"name": self.name, "value": self.value, "verdict": verdict, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The model's own classifier: its version, and what it was trained on where its file says."""

    version: str
    reference: Reference | None


@dataclass(slots=True)
class Traffic:
    """What the assessment keeps of traces, which come oldest first."""

    lexical: list[Floats] = field(default_factory=list)
    hazards: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def add(self, trace: Settlement) -> None:
        """Features of another making are left out."""
        self.versions.append(trace.classifier_version)
        if len(trace.prior_hazards) == NUM_NEED_BINS:
            of_version = self.hazards.setdefault(trace.classifier_version, [])
            of_version.append(trace.prior_hazards)
        if outcome := Outcome.of(trace):
            self.outcomes.append(outcome)
        try:
            self.lexical.append(vectorize(trace.features)[:NUM_LEXICAL])
        except ValueError:
            return

    def __len__(self) -> int:
        return len(self.versions)


def assess(traffic: Traffic, own: Own | None, recent_rows: int = RECENT_ROWS) -> list[Finding]:
    """The five findings, always in the same order. `own` is None for a model without one."""
    return [
        _features(traffic, own, recent_rows),
        _score(traffic, own, recent_rows),
        _budget_hits(traffic.outcomes, recent_rows),
        _residual(traffic.outcomes, recent_rows),
        _own_share(traffic.versions[-recent_rows:], own),
    ]


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict that matters most."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index)


def _features(traffic: Traffic, own: Own | None, recent_rows: int) -> Finding:
    name = "prompt features"
    rows = np.array(traffic.lexical)
    recent, older = rows[-recent_rows:], rows[:-recent_rows]
    reference = own.reference if own else None
    if reference is None and min(len(recent), len(older)) < MIN_ROWS:
        return _too_few(name, min(len(recent), len(older)), "older and recent prompts")
    if len(recent) < MIN_ROWS:
        return _too_few(name, len(recent), "recent prompts")
    known = reference or Reference.of_features(older)
    moved = sorted(known.moved(recent), reverse=True)
    largest = moved[0][0] if moved else 0.0
    shown = ", ".join(f"{feature} {psi:.2f}" for psi, feature in moved[:_SHOWN_FEATURES])
    detail = f"PSI against {_source(reference)}: {shown or 'none above chance'}"
    return Finding(name, largest, _psi_verdict(largest), detail)


def _score(traffic: Traffic, own: Own | None, recent_rows: int) -> Finding:
    version = own.version if own else next(iter(reversed(traffic.hazards)), "")
    predicted = scores(np.array(traffic.hazards.get(version, np.ones((0, NUM_NEED_BINS)))))
    recent, older = predicted[-recent_rows:], predicted[:-recent_rows]
    reference = own.reference if own else None
    if reference is None and min(len(recent), len(older)) < MIN_ROWS:
        return _too_few(SCORE, min(len(recent), len(older)), "older and recent predictions")
    if len(recent) < MIN_ROWS:
        return _too_few(SCORE, len(recent), "recent predictions")
    binned = reference.distributions[SCORE] if reference else Binned.of(older)
    psi = binned.psi(recent)
    counted = psi if psi > binned.chance(len(recent), 1) else 0.0
    detail = f"PSI against {_source(reference)}"
    return Finding(SCORE, psi, _psi_verdict(counted), detail)


def _budget_hits(outcomes: Sequence[Outcome], recent_rows: int) -> Finding:
    name = "budget hit rate"
    if len(outcomes) < MIN_ROWS:
        return _too_few(name, len(outcomes), "automatic requests")
    window, change = _followed([float(outcome.missed) for outcome in outcomes])
    verdict = Verdict.WARN if _is_new(change, outcomes, recent_rows) else Verdict.OK
    return Finding(name, window.mean, verdict, _change_text(change, len(outcomes)))


def _residual(outcomes: Sequence[Outcome], recent_rows: int) -> Finding:
    """Missed less expected: above 0 the budgets suffice less often than was promised. Judged over
    the requests since the last change.
    """
    name = "coverage residual"
    if len(outcomes) < MIN_ROWS:
        return _too_few(name, len(outcomes), "automatic requests")
    window, change = _followed([_to_unit(one.missed - one.expected) for one in outcomes])
    latest = outcomes[-max(MIN_ROWS, min(window.width, recent_rows)) :]
    residual = sum(one.missed - one.expected for one in latest) / len(latest)
    verdict = _residual_verdict(residual, latest)
    if verdict is Verdict.OK and _is_new(change, outcomes, recent_rows):
        verdict = Verdict.WARN
    if change is not None:
        change = Change(change.at, _from_unit(change.before), _from_unit(change.after))
    return Finding(name, residual, verdict, _change_text(change, len(outcomes)))


def _residual_verdict(residual: float, outcomes: Sequence[Outcome]) -> Verdict:
    """A residual that chance explains is none: the misses of n requests, each with its own
    probability p, have the variance sum of p (1 - p).
    """
    variance = sum(one.expected * (1.0 - one.expected) for one in outcomes)
    if residual <= _DEVIATIONS * math.sqrt(variance) / len(outcomes):
        return Verdict.OK
    if residual > _ALARM_RESIDUAL:
        return Verdict.ALARM
    return Verdict.WARN if residual > _WARN_RESIDUAL else Verdict.OK


def _own_share(versions: Sequence[str], own: Own | None) -> Finding:
    name = "own classifier"
    if own is None:
        return Finding(name, 0.0, Verdict.WARN, "the model has none of its own")
    if len(versions) < MIN_ROWS:
        return _too_few(name, len(versions), "requests")
    share = sum(version == own.version for version in versions) / len(versions)
    none = sum(not version for version in versions) / len(versions)
    detail = f"share it predicted; {1.0 - share - none:.1%} by another, {none:.1%} by none"
    return Finding(name, share, Verdict.OK if share >= _LEAST_OWN_SHARE else Verdict.WARN, detail)


def _followed(values: Iterable[float]) -> tuple[Adwin, Change | None]:
    """The window at the end, and the last change."""
    window, last = Adwin(), None
    for value in values:
        last = window.add(value) or last
    return window, last


def _is_new(change: Change | None, outcomes: Sequence[Outcome], recent_rows: int) -> bool:
    return change is not None and len(outcomes) - change.at <= recent_rows


def _to_unit(residual: float) -> float:
    """From -1 to 1 into 0 to 1."""
    return (residual + 1.0) / 2.0


def _from_unit(value: float) -> float:
    return 2.0 * value - 1.0


def _change_text(change: Change | None, num_rows: int) -> str:
    if change is None:
        return f"no change in {num_rows} requests"
    ago = num_rows - change.at
    return f"from {change.before:.3f} to {change.after:.3f}, seen {ago} requests ago"


def _psi_verdict(psi: float) -> Verdict:
    if psi >= ALARM_PSI:
        return Verdict.ALARM
    return Verdict.WARN if psi >= WARN_PSI else Verdict.OK


def _source(reference: Reference | None) -> str:
    return "its training" if reference else "older traces"


def _too_few(name: str, num_rows: int, what: str) -> Finding:
    return Finding(name, None, Verdict.TOO_FEW, f"{num_rows} {what}, {MIN_ROWS} are needed")
