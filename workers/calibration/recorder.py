"""Trials at every step of a thinking, none of which stops it: what calibration learns from."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from workers.engine import Branch, BranchEnd, ForkRefused, LLMEngine
from workers.engine.sequence import Sequence
from workers.engine.thinking import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTrial:
    """A trial after `thinking_tokens` that ran to its end.

    `entropy` of its first token, in nats; `logprobs` one per token of the answer; `num_sampled`
    counts the end of the answer too.
    """

    thinking_tokens: int
    entropy: float
    logprobs: tuple[float, ...]
    answer_ids: tuple[int, ...]
    num_sampled: int


class TrialRecorder:
    """A controller that tries an answer at every step end.

    Give the engine room for a branch per step that runs: what is dropped for want of it is not
    recorded, and counted in `num_lost`.
    """

    def __init__(
        self,
        *,
        step_end_ids: frozenset[int],
        trial_ids: tuple[int, ...],
        max_trial_tokens: int,
    ) -> None:
        self.num_lost = 0
        self._step_end_ids = step_end_ids
        self._trial_ids = trial_ids
        self._max_trial_tokens = max_trial_tokens
        self._branches: dict[str, list[Branch]] = defaultdict(list)
        self._records: dict[str, list[RecordedTrial]] = defaultdict(list)

    def take(self, request_id: str) -> tuple[RecordedTrial, ...]:
        """The trials of a request that has ended, in the order of its thinking."""
        self._branches.pop(request_id, None)
        trials = self._records.pop(request_id, [])
        return tuple(sorted(trials, key=lambda trial: trial.thinking_tokens))

    def after_step(self, engine: LLMEngine) -> None:
        """Read what has ended, and fork where a step has."""
        for branches in self._branches.values():
            for branch in [b for b in branches if b.is_resting or b.end is not None]:
                branches.remove(branch)
                self._read(engine, branch)
        for sequence in engine.scheduler.running:
            if self._is_at_step_end(sequence):
                self._fork(engine, sequence)

    def _is_at_step_end(self, sequence: Sequence) -> bool:
        """Before the newest token, which a trial leaves out."""
        place = sequence.thinking.thinking_tokens - 1
        return (
            sequence.thinking.phase is Phase.THINK
            and sequence.num_uncomputed == 1
            and place >= 1
            and sequence.ids[-2] in self._step_end_ids
        )

    def _fork(self, engine: LLMEngine, sequence: Sequence) -> None:
        request_id = sequence.request.request_id
        suffix = (*engine.tokens.natural_close_ids, *self._trial_ids)
        try:
            branch = engine.fork(request_id, suffix, self._max_trial_tokens, before_newest=True)
        except ForkRefused:
            branch = None
        if branch is None:
            self.num_lost += 1
        else:
            self._branches[request_id].append(branch)

    def _read(self, engine: LLMEngine, branch: Branch) -> None:
        if branch.end is BranchEnd.DROPPED:
            # Its request ended the thinking before the trial did: nothing was left to save.
            return
        trial = RecordedTrial(
            thinking_tokens=branch.fork_tokens,
            entropy=branch.sampled_entropies[0],
            logprobs=tuple(branch.logprobs),
            answer_ids=tuple(branch.answer_ids),
            num_sampled=branch.num_sampled,
        )
        self._records[branch.parent.request.request_id].append(trial)
        engine.drop(branch)
