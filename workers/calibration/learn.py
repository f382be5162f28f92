"""Chooses the rules of a model so that few right answers are lost, with a guarantee.

The shape of the rules - how many trials must agree, when to try, which to end at once - is chosen
for what it saves on a third of the problems. The confidence is then lowered on the others for as
long as an exact binomial test shows, at level `delta`, that the share of right answers lost is at
most `risk`: learn then test, with a fixed sequence (Angelopoulos, Bates, Candès, Jordan, Lei,
"Learn then Test", 2021). So P(share lost > risk) <= delta, whatever the model is, for problems like
those that it was given. When to give up is a second such sequence, and each has half of delta.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from scipy.stats import beta

from workers.calibration.recorder import RecordedTrial
from workers.calibration.replay import Replay, replay
from workers.early_exit.rules import ExitRules

CONFIDENCES = (0.999, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.925, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
_SHAPE_CONFIDENCES = (0.99, 0.95, 0.9)  # enough to tell shapes apart
_AGREEMENTS = (1, 2, 3)
_GAPS = ((1, 1.0, 1), (16, 1.25, 64), (24, 1.25, 96), (32, 1.5, 256), (64, 1.5, 512))
_ENTROPIES = (0.1, 0.25, 0.5, 1.0)
_GIVE_UP_CONFIDENCES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_LEAST_THINKING = (1, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedProblem:
    """One thinking at full budget with its trials; `is_kept[i]`: trial i loses no right answer."""

    thinking_tokens: int
    trials: tuple[RecordedTrial, ...]
    is_kept: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one set of rules did over `problems`.

    `gross_saved` is the share of thinking tokens saved, `net_saved` less what trials cost.
    `risk_bound` is above the true share of right answers lost with probability 1 - delta.
    """

    rules: ExitRules
    problems: int
    losses: int
    gross_saved: float
    net_saved: float
    risk_bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`curve`: by falling confidence, on the problems of the test. `chosen` is its last point
    that passed, None when not even the strictest rules did.
    """

    curve: tuple[Outcome, ...]
    chosen: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrator:
    """Settings of one calibration: the largest `risk`, shown at level `delta`."""

    base: ExitRules
    num_fed: int  # tokens that a trial is fed before it samples
    budget_tokens: int
    risk: float
    delta: float
    gives_up: bool = False

    def calibrate(self, problems: Sequence[RecordedProblem]) -> Calibration:
        """Choose the rules."""
        tuning = problems[::3]
        testing = [problem for i, problem in enumerate(problems) if is_tested(i)]
        shape = self._best_shape(tuning)
        curve = tuple(
            self.outcome(replace(shape, confidence=confidence), testing)
            for confidence in CONFIDENCES
        )
        chosen = self._last_that_passes(curve)
        if chosen is not None and self.gives_up:
            chosen = self._giving_up(chosen, testing)
        return Calibration(curve=curve, chosen=chosen)

    def confirmed(self, outcome: Outcome, losses: int) -> Outcome | None:
        """The outcome with the losses of a run of its rules; None if they show too high a risk."""
        bound = upper_bound(losses, outcome.problems, self._delta_of_a_sequence)
        return replace(outcome, losses=losses, risk_bound=bound) if bound <= self.risk else None

    def outcome(self, rules: ExitRules, problems: Sequence[RecordedProblem]) -> Outcome:
        """What rules would have done."""
        replays = [
            replay(p.thinking_tokens, p.trials, rules, self.num_fed, self.budget_tokens)
            for p in problems
        ]
        losses = sum(map(_is_lost, problems, replays))
        total = sum(problem.thinking_tokens for problem in problems)
        spent = sum(one.thinking_tokens for one in replays)
        probed = sum(one.probe_tokens for one in replays)
        return Outcome(
            rules=rules,
            problems=len(problems),
            losses=losses,
            gross_saved=1 - spent / total,
            net_saved=1 - (spent + probed) / total,
            risk_bound=upper_bound(losses, len(problems), self._delta_of_a_sequence),
        )

    @property
    def _delta_of_a_sequence(self) -> float:
        return self.delta / 2 if self.gives_up else self.delta

    def _giving_up(self, sure: Outcome, problems: Sequence[RecordedProblem]) -> Outcome:
        """The same rules that also give up, as readily as the risk allows and as it saves."""
        outcomes = (
            self.outcome(replace(sure.rules, give_up_confidence=confidence), problems)
            for confidence in _GIVE_UP_CONFIDENCES
        )
        readiest = self._last_that_passes(outcomes)
        return sure if readiest is None or readiest.net_saved <= sure.net_saved else readiest

    def _best_shape(self, problems: Sequence[RecordedProblem]) -> ExitRules:
        """The shape that saves most at a confidence that loses no more than the risk here."""
        bearable = self.risk * len(problems)
        outcomes = (self.outcome(rules, problems) for rules in self._candidates())
        best = max(
            outcomes,
            key=lambda outcome: (outcome.losses <= bearable, outcome.net_saved),
        )
        return best.rules

    def _candidates(self) -> Iterable[ExitRules]:
        for agreement, gap, entropy, least, confidence in product(
            _AGREEMENTS, _GAPS, _ENTROPIES, _LEAST_THINKING, _SHAPE_CONFIDENCES
        ):
            min_gap, backoff, max_gap = gap
            yield replace(
                self.base,
                agreement=agreement,
                min_gap_tokens=min_gap,
                backoff=backoff,
                max_gap_tokens=max_gap,
                max_entropy=entropy,
                min_thinking_tokens=least,
                confidence=confidence,
            )

    def _last_that_passes(self, curve: Iterable[Outcome]) -> Outcome | None:
        """The fixed sequence ends with the first that fails: no correction for many tests."""
        chosen = None
        for outcome in curve:
            if outcome.risk_bound > self.risk:
                break
            chosen = outcome
        return chosen


def is_tested(index: int) -> bool:
    """Whether a problem tests the rules; each third one chooses their shape."""
    return index % 3 != 0


def upper_bound(losses: int, problems: int, delta: float) -> float:
    """The largest share that makes so few losses no rarer than `delta` (Clopper, Pearson, 1934)."""
    return 1.0 if losses >= problems else float(beta.ppf(1 - delta, losses + 1, problems - losses))


def least_problems(risk: float, delta: float) -> int:
    """How many problems can show the risk at all, when none is lost; the tuning third included."""
    tested = math.ceil(math.log(delta) / math.log1p(-risk))
    return math.ceil(tested * 3 / 2)


def _is_lost(problem: RecordedProblem, outcome: Replay) -> bool:
    return outcome.exit_trial is not None and not problem.is_kept[outcome.exit_trial]
