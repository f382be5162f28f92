"""Asks one model the same questions with and without exits; chooses each control's setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from ponder import bins
from workers.bench.early_exit_figures import (
    BASELINE,
    PONDER,
    Record,
    SubjectFigures,
    matched_budget,
    mean_thinking,
    subject_figures,
)
from workers.bench.early_exit_rules import Control, Setting, model_rules, published_controls
from workers.early_exit import EarlyExit
from workers.engine import Controller, EngineConfig, EngineRequest, LLMEngine
from workers.rollouts import Rollout, run_requests
from workers.sampling_defaults import SamplingDefaults
from workers.tokenizer import Tokenizer
from workers.training.questions import Question, QuestionSource

MAX_ANSWER_TOKENS: Final = 48
_MOST_LOSS_POINTS: Final = 0.5  # of accuracy, on the validation split
_CONCURRENCY: Final = 64

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. `concurrency` is that of the throughput runs. Question i samples with
    the seed `first_sampling_seed` + i.
    """

    problems: int = 600
    validation_problems: int = 200
    latency_problems: int = 100
    throughput_problems: int = 200
    concurrency: int = 16
    budget_tokens: int = 10_000
    seed: int = 11
    first_sampling_seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All subjects by name, in order; `settings` are those chosen on the validation split."""

    subjects: Mapping[str, SubjectFigures]
    rules_origin: str
    settings: Mapping[str, str]


class Bench:
    """One model with its tokenizer, its sampling and its exit rules."""

    def __init__(self, model_dir: Path, plan: Plan) -> None:
        self.plan = plan
        self.model_dir = model_dir
        self._sampling = SamplingDefaults.load(model_dir)
        self._tokenizer = Tokenizer(model_dir)
        self.rules, self.rules_origin = model_rules(model_dir)
        self.ponder = EarlyExit.of(self.rules, self._tokenizer)
        self.controls = published_controls(self.rules, self._tokenizer)

    def questions(self, split: str, count: int) -> list[Question]:
        """The whole mix, the same questions for the same plan."""
        source = QuestionSource(Random(self.plan.seed), split)
        return [source.any_family() for _ in range(count)]

    def requests(
        self, questions: Sequence[Question], budget_tokens: int | None = None
    ) -> list[EngineRequest]:
        """Each question as the worker would ask it, with a seed by its index."""
        budget = self.plan.budget_tokens if budget_tokens is None else budget_tokens
        return [self._request(i, question, budget) for i, question in enumerate(questions)]

    def engine(self, controller: Controller | None, **settings: float) -> LLMEngine:
        """An engine of its own; `settings` are EngineConfig's."""
        config = EngineConfig(model_dir=self.model_dir, **settings)  # type: ignore[arg-type]
        tokens = self._tokenizer.special_tokens(separators=self.rules.separators)
        return LLMEngine(config, tokens, controller)

    def records(
        self,
        questions: Sequence[Question],
        controller: Controller | None,
        budget_tokens: int | None = None,
    ) -> list[Record]:
        """Answer the questions. Every request may have a trial, so no load decides any."""
        engine = self.engine(
            controller,
            max_running=_CONCURRENCY,
            max_branch_share=1.0,
            target_token_s=1e6,  # nor does the time that a step takes
        )
        requests = self.requests(questions, budget_tokens)
        done = {r.request_id: r for r in run_requests(engine, requests, _CONCURRENCY)}
        return [
            self.record(question, request, done[request.request_id])
            for question, request in zip(questions, requests, strict=True)
        ]

    def record(self, question: Question, request: EngineRequest, rollout: Rollout) -> Record:
        """Score one answer."""
        assert rollout.finished is not None
        usage = rollout.finished.usage
        answer = self._tokenizer.decode(rollout.answer_ids)
        return Record(
            thinking_ids=tuple(rollout.thinking_ids),
            answer_ids=tuple(rollout.answer_ids),
            thinking_tokens=usage.thinking_tokens,
            probe_tokens=usage.probe_tokens,
            forced_tokens=usage.forced_tokens,
            budget_tokens=request.thinking_budget,
            stop=rollout.finished.stop,
            is_right=question.is_right(answer),
            is_empty=not answer.strip(),
        )

    def _request(self, index: int, question: Question, budget_tokens: int) -> EngineRequest:
        prompt_ids = self._tokenizer.encode_prompt(question.prompt)
        return EngineRequest(
            request_id=str(index),
            prompt_ids=prompt_ids,
            thinking_budget=budget_tokens,
            cut_grace_tokens=bins.cut_grace_tokens(budget_tokens),
            max_answer_tokens=MAX_ANSWER_TOKENS,
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            seed=self.plan.first_sampling_seed + index,
            prompt_opens_thinking=self._tokenizer.opens_thinking(prompt_ids),
        )


def measure(bench: Bench, progress: Progress) -> Measured:
    """Choose the controls' settings, then answer the test questions with every subject."""
    chosen = dict(_choose_all(bench, progress))
    questions = bench.questions("test", bench.plan.problems)
    records = {
        BASELINE: bench.records(questions, None),
        PONDER: bench.records(questions, bench.ponder),
    }
    progress(f"{BASELINE} and {PONDER} done")
    for name, budget in _fixed_budgets(records).items():
        records[name] = bench.records(questions, None, budget)
    for name, setting in chosen.items():
        records[name] = bench.records(questions, setting.controller)
        progress(f"{name} done")
    figures = {name: subject_figures(name, r, records[BASELINE]) for name, r in records.items()}
    budgets = {name: f"{n} tokens" for name, n in _fixed_budgets(records).items()}
    return Measured(
        subjects=figures,
        rules_origin=bench.rules_origin,
        settings={**budgets, **{name: setting.label for name, setting in chosen.items()}},
    )


def choose(control: Control, figures: Sequence[SubjectFigures]) -> tuple[Setting, SubjectFigures]:
    """The setting that saves most of those that lose little; else the one that loses least."""
    pairs = list(zip(control.settings, figures, strict=True))
    bearable = [p for p in pairs if p[1].accuracy_change.value >= -_MOST_LOSS_POINTS]
    if bearable:
        return max(bearable, key=lambda pair: pair[1].savings.net.value)
    return max(pairs, key=lambda pair: pair[1].accuracy_change.value)


def _choose_all(bench: Bench, progress: Progress) -> Iterator[tuple[str, Setting]]:
    questions = bench.questions("validation", bench.plan.validation_problems)
    baseline = bench.records(questions, None)
    for control in bench.controls:
        figures = [
            subject_figures(s.label, bench.records(questions, s.controller), baseline)
            for s in control.settings
        ]
        for one in figures:
            progress(f"validation, {control.name}, {_in_short(one)}")
        setting, _ = choose(control, figures)
        yield control.name, setting


def _in_short(figures: SubjectFigures) -> str:
    change, net = figures.accuracy_change.value, figures.savings.net.value
    return f"{figures.name}: {change:+.1f} points, {net:.1%} net saved"


def _fixed_budgets(records: Mapping[str, Sequence[Record]]) -> dict[str, int]:
    """Controls with no exit at all: one budget for every question.

    "fixed cut" is what a user would set, the mean; since many questions need less than the mean,
    "matched cut" is the larger one that thinks as much in all.
    """
    mean_tokens = mean_thinking(records[PONDER])
    return {
        "fixed cut": max(1, round(mean_tokens)),
        "matched cut": matched_budget(records[BASELINE], mean_tokens),
    }
