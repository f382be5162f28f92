"""Stops thinking when the answer is sure: looks at the engine after each step, and acts.

A request's row never waits: trials are branches, of lower priority than any request, and change
no token of the request they are forked from.
"""

from __future__ import annotations

from collections.abc import Callable

from workers.early_exit.cadence import Cadence
from workers.early_exit.judge import Agreement, Judge
from workers.early_exit.rules import ExitRules
from workers.early_exit.trial import Trial, TrialReader
from workers.early_exit.watch import Watch
from workers.engine import ForkRefused, LLMEngine, ThinkingStop
from workers.engine.sequence import Sequence
from workers.engine.thinking import Phase
from workers.tokenizer import Tokenizer

JudgeFactory = Callable[[ExitRules], Judge]
CadenceFactory = Callable[[ExitRules], Cadence]


class EarlyExit:
    """The controller of one engine; `step_end_ids` and `trial_ids` are the rules' texts, encoded.

    `step_end_ids`: tokens that end a step. `trial_ids`: what a trial is fed after `</think>`.
    `keeps_trial`: the last trial becomes the request, else the request answers anew; it does so
    anyway when a trial is fed more than `</think>`.
    """

    def __init__(
        self,
        rules: ExitRules,
        *,
        step_end_ids: frozenset[int],
        trial_ids: tuple[int, ...] = (),
        make_judge: JudgeFactory = Agreement,
        make_cadence: CadenceFactory = Cadence,
        keeps_trial: bool = True,
    ) -> None:
        self._rules = rules
        self._step_end_ids = step_end_ids
        self._trial_ids = trial_ids
        self._reader = TrialReader(rules)
        self._make_judge = make_judge
        self._make_cadence = make_cadence
        self._promotes = keeps_trial and not trial_ids

    @classmethod
    def of(cls, rules: ExitRules, tokenizer: Tokenizer) -> EarlyExit:
        """The controller of a model with this tokenizer."""
        return cls(
            rules,
            step_end_ids=tokenizer.step_end_ids(rules.separators),
            trial_ids=tokenizer.encode_text(rules.trial_text),
        )

    def after_step(self, engine: LLMEngine) -> None:
        """Read the trials that live, stop what is sure, and start the trials that are due."""
        for sequence in tuple(engine.scheduler.running):
            if _thinks(sequence):
                watch = self._watch(sequence)
                if watch.trial is not None:
                    self._read_trial(engine, sequence, watch, watch.trial)
                if watch.wants_trial and _thinks(sequence):
                    self._start_trial(engine, sequence, watch)

    def _watch(self, sequence: Sequence) -> Watch[Trial]:
        """The watch of a request, up to its newest token."""
        watch = sequence.watch
        if watch is None:
            request = sequence.request
            watch = sequence.watch = Watch(
                self._rules,
                self._make_judge(self._rules),
                request.thinking_budget,
                request.thinking_prefix_ids,
                cadence=self._make_cadence(self._rules),
            )
        assert isinstance(watch, Watch)
        num_new = sequence.thinking.thinking_tokens - watch.thinking_tokens
        for token in sequence.ids[len(sequence.ids) - num_new :]:
            watch.feed(token, ends_step=token in self._step_end_ids)
        return watch

    def _start_trial(self, engine: LLMEngine, sequence: Sequence, watch: Watch[Trial]) -> None:
        """Without room for a branch there is no trial: the thinking goes on."""
        suffix = (*engine.tokens.natural_close_ids, *self._trial_ids)
        try:
            branch = engine.fork(
                sequence.request.request_id,
                suffix,
                self._rules.max_trial_tokens,
                before_newest=True,  # so that `</think>` is a row like others, not a prefill
            )
        except ForkRefused:  # it would not fit the context or the pool
            return
        if branch is not None:
            watch.begin(Trial(branch, self._reader, by_repetition=watch.repeats))

    def _read_trial(
        self, engine: LLMEngine, sequence: Sequence, watch: Watch[Trial], trial: Trial
    ) -> None:
        if trial.is_lost:
            watch.trial = None
            return
        outcome = trial.read()
        if outcome is None:
            return
        stop = watch.end(outcome, by_repetition=trial.by_repetition)
        if stop is ThinkingStop.CONFIDENT and self._promotes:
            engine.promote(trial.branch, stop)
            return
        engine.drop(trial.branch)
        if stop is not None:
            engine.close(sequence, stop)


def _thinks(sequence: Sequence) -> bool:
    """Whether it decodes thinking: only then its newest token can be forked from."""
    return sequence.thinking.phase is Phase.THINK and sequence.num_uncomputed == 1
