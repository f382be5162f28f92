"""A trial answer: the branch that gives it, read until it is known what it is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workers.early_exit.rules import ExitRules
from workers.engine import Branch, BranchEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """What a trial at `thinking_tokens` said.

    `entropy` is that of its first token, in nats. `confidence` is the geometric mean probability of
    the answer's tokens; 0 when the trial ended before it had one, and `answer_ids` are empty then.
    """

    thinking_tokens: int
    entropy: float
    confidence: float = 0.0
    answer_ids: tuple[int, ...] = ()
    num_sampled: int = 1


class TrialReader:
    """The rules of reading a trial: what it takes to go on, and what its answer is worth."""

    def __init__(self, rules: ExitRules) -> None:
        self._max_entropy = rules.max_entropy
        # The least sum of log-probabilities with which a trial of full length is sure.
        self._least_logprob = rules.max_trial_tokens * _log(rules.confidence)

    def is_hopeless(self, entropy: float, logprob: float) -> bool:
        """Whether the trial cannot become sure, by its first entropy and the sum so far.

        However likely the tokens to come are, the mean over the longest trial stays too low.
        """
        return not entropy <= self._max_entropy or not logprob >= self._least_logprob

    def confidence(self, logprob: float, num_tokens: int) -> float:
        """From the sum of the log-probabilities of an answer."""
        return math.exp(logprob / num_tokens)


class Trial:
    """One live branch."""

    def __init__(self, branch: Branch, reader: TrialReader, *, by_repetition: bool) -> None:
        self.branch = branch
        self.by_repetition = by_repetition
        self._reader = reader
        self._num_read = 0
        self._logprob = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether it was dropped, for want of room or because the request moved on."""
        return self.branch.end is BranchEnd.DROPPED

    def read(self) -> TrialOutcome | None:
        """What came of it; None while it is not known."""
        branch = self.branch
        if not branch.num_sampled:
            return None
        self._logprob += sum(branch.logprobs[self._num_read :])
        self._num_read = len(branch.logprobs)
        entropy = branch.sampled_entropies[0]
        if self._reader.is_hopeless(entropy, self._logprob):
            return self._outcome(entropy)
        if not branch.is_resting:
            return None
        confidence = self._reader.confidence(self._logprob, self._num_read)
        return self._outcome(entropy, confidence, tuple(branch.answer_ids))

    def _outcome(
        self, entropy: float, confidence: float = 0.0, answer_ids: tuple[int, ...] = ()
    ) -> TrialOutcome:
        return TrialOutcome(
            thinking_tokens=self.branch.fork_tokens,
            entropy=entropy,
            confidence=confidence,
            answer_ids=answer_ids,
            num_sampled=self.branch.num_sampled,
        )


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
