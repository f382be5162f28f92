"""Measure the reference model: accuracy by budget, right steps, true claims, answers when cut.

    python -m workers.training.evaluate --model DIR [--problems 500] [--json FILE] [--quick]

Problems are of the test split (choose settings on the validation split); answers are scored by
reasoning-gym's own scorer. Sampling is keyed on (seed, position), so the thinking at a small budget
is the start of the thinking at a large one: each problem is thought about once, at the largest
budget, and closed at each of the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from tqdm import tqdm

from workers.engine import ThinkingStop
from workers.training import countdown
from workers.training.questions import EASY_FAMILIES, Question, countdown_question, draw_easy
from workers.training.reading import (
    claim_is_true,
    countdown_is_well_formed,
    read_attempts,
    step_is_right,
)
from workers.training.report import FamilyResult, render
from workers.training.rollouts import Rollout, RolloutRunner
from workers.training.shares import NO_TRIALS, Share

BUDGETS = (0, 50, 500, 2000, 10_000)
EASY_BUDGET = 50


class Evaluator:
    """Runs the questions of one family after another."""

    def __init__(self, runner: RolloutRunner, *, split: str, seed: int) -> None:
        self._runner = runner
        self._split = split
        self._seed = seed

    def easy(self, family: str, count: int) -> FamilyResult:
        """Accuracy of an easy family at the simple tier's budget."""
        rng = Random(f"{self._seed}:{family}")
        questions = [draw_easy(rng, self._split, family) for _ in range(count)]
        result = FamilyResult()
        for question, rollout in self._think(questions, EASY_BUDGET):
            right = question.is_right(self._runner.text(rollout.answer_ids))
            result.accuracy[EASY_BUDGET] = result.accuracy.get(EASY_BUDGET, NO_TRIALS).add(right)
            self._count_thinking(result, question, rollout)
        return result

    def countdown(self, size: int, count: int) -> FamilyResult:
        """Everything about Countdown problems of one size."""
        rng = Random(f"{self._seed}:countdown:{size}")
        drawn = countdown.problems(rng, size, self._split, count)
        questions = [countdown_question(rng, problem) for problem in drawn]
        result = FamilyResult()
        full = list(self._think(questions, BUDGETS[-1]))
        for question, rollout in full:
            self._count_thinking(result, question, rollout)
        for budget in BUDGETS:
            answers = self._answers_at(full, [budget] * len(full))
            right = [question.is_right(answer) for question, answer in answers]
            result.accuracy[budget] = Share.of(right)
        self._count_well_formed(result, rng, full)
        return result

    def _count_well_formed(
        self, result: FamilyResult, rng: Random, full: Sequence[tuple[Question, Rollout]]
    ) -> None:
        cuts = [rng.randint(0, len(rollout.thinking_ids)) for _, rollout in full]
        for question, answer in self._answers_at(full, cuts):
            assert question.problem is not None
            well_formed = countdown_is_well_formed(answer, question.problem)
            result.well_formed_when_cut = result.well_formed_when_cut.add(well_formed)

    def _think(
        self, questions: Sequence[Question], budget: int
    ) -> Iterator[tuple[Question, Rollout]]:
        requests = (
            self._runner.request(str(i), question.prompt, budget, self._seed + i)
            for i, question in enumerate(questions)
        )
        with tqdm(total=len(questions), unit="problem", leave=False) as bar:
            for rollout in self._runner.run(requests):
                bar.update()
                yield questions[int(rollout.request_id)], rollout

    def _answers_at(
        self, full: Sequence[tuple[Question, Rollout]], budgets: Sequence[int]
    ) -> Iterator[tuple[Question, str]]:
        """Yield each question with the answer it gets when its thinking is cut at its budget."""
        cut = []
        for index, ((question, rollout), budget) in enumerate(zip(full, budgets, strict=True)):
            if len(rollout.thinking_ids) <= budget:
                yield question, self._runner.text(rollout.answer_ids)
                continue
            prefix = rollout.thinking_ids[:budget]
            seed = self._seed + int(rollout.request_id)
            cut.append(self._runner.request(str(index), question.prompt, budget, seed, prefix))
        for answered in self._runner.run(cut):
            yield full[int(answered.request_id)][0], self._runner.text(answered.answer_ids)

    def _count_thinking(self, result: FamilyResult, question: Question, rollout: Rollout) -> None:
        assert rollout.finished is not None
        result.thinking_tokens.append(rollout.finished.usage.thinking_tokens)
        stopped = rollout.finished.stop is ThinkingStop.FINISHED
        result.finished = result.finished.add(stopped)
        for attempt in read_attempts(self._runner.text(rollout.thinking_ids)):
            for step in attempt.steps:
                result.steps = result.steps.add(step_is_right(step))
            if attempt.verdict == "yes" and question.problem is not None:
                result.claims = result.claims.add(claim_is_true(attempt, question.problem))


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, evaluate, print the report."""
    options = _parse(arguments)
    runner = RolloutRunner(
        options.model,
        batch=options.batch,
        temperature=options.temperature,
        threads=options.threads,
    )
    evaluator = Evaluator(runner, split=options.split, seed=options.seed)
    count = 40 if options.quick else options.problems
    started = time.monotonic()
    results: dict[str, FamilyResult] = {}
    for family in EASY_FAMILIES:
        results[family] = evaluator.easy(family, count)
    for size in countdown.SIZES:
        results[f"countdown-{size}"] = evaluator.countdown(size, count)
        print(f"countdown-{size} done", file=sys.stderr, flush=True)
    report = render(results, temperature=options.temperature, seconds=time.monotonic() - started)
    print(report.text)
    if options.json:
        options.json.write_text(json.dumps(report.figures, indent=2) + "\n")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    parser.add_argument("--problems", type=int, default=500, help="of each size and family")
    parser.add_argument("--split", choices=countdown.SPLITS[1:], default="test")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="40 problems of each kind")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
