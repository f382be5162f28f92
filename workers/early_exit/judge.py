"""Which trials are enough to stop thinking."""

from __future__ import annotations

from typing import Protocol

from workers.early_exit.rules import ExitRules
from workers.early_exit.trial import TrialOutcome


class Judge(Protocol):
    """Sees the outcomes of one request's trials in order; True stops its thinking."""

    def is_enough(self, outcome: TrialOutcome) -> bool: ...


class Agreement:
    """Enough are some sure trials in a row that answer the same."""

    def __init__(self, rules: ExitRules) -> None:
        self._rules = rules
        self._answer_ids: tuple[int, ...] = ()
        self._num_agreeing = 0

    def is_enough(self, outcome: TrialOutcome) -> bool:
        """Whether this trial completes the row."""
        if not outcome.confidence > self._rules.confidence:
            self._num_agreeing = 0
            return False
        agrees = self._num_agreeing > 0 and outcome.answer_ids == self._answer_ids
        self._num_agreeing = self._num_agreeing + 1 if agrees else 1
        self._answer_ids = outcome.answer_ids
        return self._num_agreeing >= self._rules.agreement
