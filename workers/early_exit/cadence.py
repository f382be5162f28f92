"""When the next trial is due, by what the last one said."""

from __future__ import annotations

from workers.early_exit.rules import ExitRules
from workers.early_exit.trial import TrialOutcome

_MUCH_SURER = 0.5  # of the entropy before: the thinking has found something


class Cadence:
    """A gap that widens while trials are unsure, and closes when one is not."""

    def __init__(self, rules: ExitRules) -> None:
        self._rules = rules
        self._gap = float(rules.min_gap_tokens)
        self._next_tokens = rules.min_thinking_tokens
        self._last_entropy = 0.0

    def is_due(self, thinking_tokens: int) -> bool:
        """Whether a trial may start after so much thinking."""
        return thinking_tokens >= self._next_tokens

    def record(self, outcome: TrialOutcome) -> None:
        """Learn from a trial."""
        rules = self._rules
        if outcome.confidence > rules.confidence:
            # It has to be confirmed: the sooner the better.
            self._gap, self._next_tokens = float(rules.min_gap_tokens), 0
            return
        if outcome.entropy < _MUCH_SURER * self._last_entropy:
            self._gap = float(rules.min_gap_tokens)
        self.wait(outcome.thinking_tokens)
        self._last_entropy = outcome.entropy

    def wait(self, thinking_tokens: int) -> None:
        """Leave a gap after so much thinking, and a wider one the next time."""
        rules = self._rules
        self._next_tokens = thinking_tokens + int(self._gap)
        self._gap = min(self._gap * rules.backoff, float(rules.max_gap_tokens))
