"""What early exit knows of one request: its thinking so far, and the trial that runs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from workers.early_exit.cadence import Cadence
from workers.early_exit.judge import Judge
from workers.early_exit.repetition import RepetitionMeter
from workers.early_exit.rules import ExitRules
from workers.early_exit.trial import TrialOutcome
from workers.engine import ThinkingStop

_REPETITION_GAP_TOKENS = 16
"""Repetition lasts: this often while it does, a trial may ask whether it has an answer."""


class Live(Protocol):
    """A trial that runs, wherever it does."""

    by_repetition: bool


LiveTrial = TypeVar("LiveTrial", bound=Live)


class Watch(Generic[LiveTrial]):
    """Decides for one request when to try an answer, and when its thinking has done its work."""

    def __init__(
        self,
        rules: ExitRules,
        judge: Judge,
        budget_tokens: int,
        thinking_prefix: Sequence[int] = (),
        *,
        cadence: Cadence | None = None,
    ) -> None:
        """`thinking_prefix`: what was thought before this watch began."""
        self.trial: LiveTrial | None = None
        self.thinking_tokens = len(thinking_prefix)
        self._rules = rules
        self._judge = judge
        self._budget_tokens = budget_tokens
        self._cadence = cadence or Cadence(rules)
        self._meter = RepetitionMeter(rules.repetition_window)
        self._next_repetition_tokens = 0
        self._num_loop_trials = 0  # unsure ones, since the thinking began to repeat itself
        self._best_confidence = 0.0
        self._is_step_end = False
        # Before the newest token: it is not computed yet, and a trial leaves it out.
        self._was_step_end = False
        self._was_similar = False
        for token in thinking_prefix[-2 * rules.repetition_window - 1 :]:
            self._meter.feed(token)

    def feed(self, token: int, *, ends_step: bool) -> None:
        """Take the next thinking token, with which a step of the thinking may end."""
        self._was_step_end = self._is_step_end
        self._was_similar = self._meter.similarity > self._rules.repetition
        if not self._was_similar:
            self._num_loop_trials = 0
        self.thinking_tokens += 1
        self._meter.feed(token)
        self._is_step_end = ends_step

    @property
    def wants_trial(self) -> bool:
        """Whether to try an answer before the newest token."""
        place = self.thinking_tokens - 1
        if self.trial is not None or place < max(1, self._rules.min_thinking_tokens):
            return False
        return self.repeats or (self._was_step_end and self._cadence.is_due(place))

    @property
    def repeats(self) -> bool:
        """Whether the thinking repeated itself, and no trial asked yet what came of it."""
        return self._was_similar and self.thinking_tokens > self._next_repetition_tokens

    def begin(self, trial: LiveTrial) -> None:
        """A trial has started before the newest token."""
        self.trial = trial
        if trial.by_repetition:
            self._next_repetition_tokens = self.thinking_tokens + _REPETITION_GAP_TOKENS

    def lose(self) -> None:
        """The trial came to no outcome: the next one waits as it does after an unsure one."""
        self.trial = None
        self._cadence.wait(self.thinking_tokens)

    def end(self, outcome: TrialOutcome, *, by_repetition: bool) -> ThinkingStop | None:
        """The trial said something. Returns how the thinking stops; None when it goes on."""
        self.trial = None
        self._cadence.record(outcome)
        self._best_confidence = max(self._best_confidence, outcome.confidence)
        if self._judge.is_enough(outcome):
            return ThinkingStop.CONFIDENT
        is_unsure = not outcome.confidence > self._rules.confidence
        if by_repetition:
            self._num_loop_trials = self._num_loop_trials + 1 if is_unsure else 0
        if self._num_loop_trials >= self._rules.loop_trials:
            return ThinkingStop.CONVERGED
        is_hopeless = self._rules.gives_up(
            self._best_confidence, self.thinking_tokens, self._budget_tokens
        )
        return ThinkingStop.GAVE_UP if is_hopeless else None
