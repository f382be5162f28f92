"""Asks the model the questions of one family and keeps a record of each. Figures come later.

Sampling is keyed on (seed, position), so the thinking at a small budget is the start of the
thinking at a large one: each problem is thought about once, at the largest budget, and closed at
each of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tqdm import tqdm

from workers.engine import ThinkingStop
from workers.rollouts import Rollout
from workers.training import countdown
from workers.training.oracle import Oracle
from workers.training.questions import (
    SYSTEM_FAMILY,
    Question,
    QuestionSource,
    countdown_question,
)
from workers.training.records import ForcedAnswer, ProblemRecord, ThinkingRecord
from workers.training.rollouts import RolloutRunner
from workers.training.thinking_reader import ThinkingReader
from workers.training.vocabulary import END_THINK, THINK

TIER_BUDGETS = (50, 500, 2000, 10_000)
EASY_BUDGET = TIER_BUDGETS[0]

RANDOM_CUTS = 2
"""At how many random tokens the thinking about each problem is cut."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How one problem was answered after at most `budget` thinking tokens."""

    budget: int
    rollout: Rollout
    is_forced: bool  # by the budget, not by the model's own close


class Evaluator:
    """Runs the questions of one family after another; `budgets` ascend, the tiers among them."""

    def __init__(
        self, runner: RolloutRunner, *, split: str, seed: int, budgets: Sequence[int]
    ) -> None:
        self._runner = runner
        self._split = split
        self._seed = seed
        self._budgets = budgets
        self._reader = ThinkingReader(runner.tokenizer)
        self._oracle = Oracle(runner.tokenizer.backend_tokenizer)

    def easy(self, family: str, count: int) -> list[ProblemRecord]:
        """Questions of an easy family at the simple tier's budget."""
        source = QuestionSource(Random(f"{self._seed}:{family}"), self._split)
        questions = [source.easy(family) for _ in range(count)]
        rollouts = self._think(questions, EASY_BUDGET)
        return [
            ProblemRecord(
                thinking=self._read(question, rollout),
                is_right={EASY_BUDGET: self._is_right(question, rollout)},
            )
            for question, rollout in zip(questions, rollouts, strict=True)
        ]

    def systems(self, count: int) -> list[ProblemRecord]:
        """Systems of two equations, cut like Countdown problems."""
        source = QuestionSource(Random(f"{self._seed}:{SYSTEM_FAMILY}"), self._split)
        return self._searched([source.system() for _ in range(count)])

    def countdown(self, size: int, count: int) -> list[ProblemRecord]:
        """Countdown problems of one size, cut at every budget and at random tokens."""
        rng = Random(f"{self._seed}:countdown:{size}")
        drawn = countdown.problems(rng, size, self._split, count)
        return self._searched([countdown_question(rng, problem) for problem in drawn])

    def _searched(self, questions: Sequence[Question]) -> list[ProblemRecord]:
        rng = Random(f"{self._seed}:cuts")
        full = self._think(questions, self._budgets[-1])
        by_budget = [self._close(questions, full, [b] * len(full)) for b in self._budgets]
        at_random = [
            self._close(questions, full, [_random_cut(rng, rollout) for rollout in full])
            for _ in range(RANDOM_CUTS)
        ]
        return [
            self._searched_record(question, cuts, random_cuts)
            for question, cuts, random_cuts in zip(
                questions, zip(*by_budget, strict=True), zip(*at_random, strict=True), strict=True
            )
        ]

    def _searched_record(
        self, question: Question, cuts: Sequence[Cut], at_random: Sequence[Cut]
    ) -> ProblemRecord:
        assert question.problem is not None
        at_tiers = [cut for cut in cuts if cut.is_forced and cut.budget in TIER_BUDGETS]
        forced_at_random = [cut for cut in at_random if cut.is_forced]
        rng = Random(f"{self._seed}:oracle:{question.problem.key}")  # whatever the model does
        return ProblemRecord(
            thinking=self._read(question, cuts[-1].rollout),
            is_right={cut.budget: self._is_right(question, cut.rollout) for cut in cuts},
            oracle=self._oracle.solved_within(rng, question.problem, self._budgets),
            forced=(
                *(self._forced(question, cut, is_random=False) for cut in at_tiers),
                *(self._forced(question, cut, is_random=True) for cut in forced_at_random),
            ),
        )

    def _think(self, questions: Sequence[Question], budget: int) -> list[Rollout]:
        """Think about all questions; rollouts in the order of the questions."""
        requests = (
            self._runner.request(str(i), question.prompt, budget, self._seed + i)
            for i, question in enumerate(questions)
        )
        done = {}
        with tqdm(total=len(questions), unit="problem", leave=False) as bar:
            for rollout in self._runner.run(requests):
                bar.update()
                done[rollout.request_id] = rollout
        return [done[str(i)] for i in range(len(questions))]

    def _close(
        self, questions: Sequence[Question], full: Sequence[Rollout], budgets: Sequence[int]
    ) -> list[Cut]:
        """Answer each question after the thinking that its budget allows."""
        cut = {}
        for i, (question, rollout, budget) in enumerate(zip(questions, full, budgets, strict=True)):
            if len(rollout.thinking_ids) > budget:
                prefix = rollout.thinking_ids[:budget]
                cut[str(i)] = self._runner.request(
                    str(i), question.prompt, budget, self._seed + i, prefix
                )
        answered = {rollout.request_id: rollout for rollout in self._runner.run(cut.values())}
        closed = [answered.get(str(i), rollout) for i, rollout in enumerate(full)]
        return [Cut(b, r, _was_cut(r)) for b, r in zip(budgets, closed, strict=True)]

    def _forced(self, question: Question, cut: Cut, *, is_random: bool) -> ForcedAnswer:
        assert question.is_well_formed is not None
        answer = self._runner.text(cut.rollout.answer_ids)
        return ForcedAnswer(
            num_tokens=len(cut.rollout.answer_ids),
            logprob=sum(cut.rollout.logprobs),
            is_right=question.is_right(answer),
            is_well_formed=question.is_well_formed(answer),
            has_marker=THINK in answer or END_THINK in answer,
            is_random_cut=is_random,
        )

    def _read(self, question: Question, rollout: Rollout) -> ThinkingRecord:
        return self._reader.read(
            rollout.thinking_ids, question.problem, is_finished=not _was_cut(rollout)
        )

    def _is_right(self, question: Question, rollout: Rollout) -> bool:
        return question.is_right(self._runner.text(rollout.answer_ids))


def _was_cut(rollout: Rollout) -> bool:
    assert rollout.finished is not None
    return rollout.finished.stop is ThinkingStop.EXHAUSTED


def _random_cut(rng: Random, rollout: Rollout) -> int:
    return rng.randrange(max(1, len(rollout.thinking_ids)))
