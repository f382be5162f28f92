"""What a set of rules would have done with thinking that was recorded: the same decisions.

Exact, because a trial's tokens depend on its request and its place alone. Left out are trials that
repetition starts, because it does so where steps need not end; and a thinking that is given up is
judged by the trial that gave the reason, which was cut some tokens earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from workers.calibration.recorder import RecordedTrial
from workers.early_exit.cadence import Cadence
from workers.early_exit.judge import Agreement
from workers.early_exit.rules import ExitRules
from workers.early_exit.trial import TrialOutcome, TrialReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How one thinking would have gone.

    `exit_trial` is the index of the trial after which it stopped, None when it ended by itself.
    `probe_tokens` were fed to trials, sampled by those that came to nothing, or thought while the
    last one ran; the exit's forced and answer tokens are what a close costs anyway.
    """

    thinking_tokens: int
    probe_tokens: int
    exit_trial: int | None


def replay(
    thinking_tokens: int,
    trials: Sequence[RecordedTrial],
    rules: ExitRules,
    num_fed: int,
    budget_tokens: int,
) -> Replay:
    """Run the rules over the trials of one thinking of `thinking_tokens`.

    `num_fed`: tokens that a trial is fed before it samples.
    """
    cadence, judge = Cadence(rules), Agreement(rules)
    reader = TrialReader(rules)
    probe_tokens = next_tokens = 0
    best_confidence = 0.0
    for index, trial in enumerate(trials):
        place = trial.thinking_tokens
        if place < max(next_tokens, rules.min_thinking_tokens) or not cadence.is_due(place):
            continue
        outcome = outcome_of(trial, reader)
        next_tokens = place + outcome.num_sampled  # one trial at a time
        cadence.record(outcome)
        if judge.is_enough(outcome):
            # The thinking was one token ahead of the trial when it began.
            discarded = min(outcome.num_sampled + 1, thinking_tokens - place)
            return Replay(
                thinking_tokens=place,
                probe_tokens=probe_tokens + discarded,
                exit_trial=index,
            )
        probe_tokens += num_fed + outcome.num_sampled
        best_confidence = max(best_confidence, outcome.confidence)
        now_tokens = min(thinking_tokens, next_tokens + 1)
        if rules.gives_up(best_confidence, now_tokens, budget_tokens):
            return Replay(thinking_tokens=now_tokens, probe_tokens=probe_tokens, exit_trial=index)
    return Replay(thinking_tokens=thinking_tokens, probe_tokens=probe_tokens, exit_trial=None)


def outcome_of(trial: RecordedTrial, reader: TrialReader) -> TrialOutcome:
    """What the reader would have made of a trial, ended as soon as it was hopeless."""
    sums = list(accumulate(trial.logprobs))
    for num_sampled, logprob in enumerate(sums, start=1):
        if reader.is_hopeless(trial.entropy, logprob):
            return TrialOutcome(
                thinking_tokens=trial.thinking_tokens,
                entropy=trial.entropy,
                num_sampled=num_sampled,
            )
    return TrialOutcome(
        thinking_tokens=trial.thinking_tokens,
        entropy=trial.entropy,
        confidence=reader.confidence(sums[-1], len(sums)),
        answer_ids=trial.answer_ids,
        num_sampled=trial.num_sampled,
    )
