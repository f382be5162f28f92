"""Thinks about prompts at full budget, with a trial at every step: one record per prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from workers.calibration.learn import RecordedProblem
from workers.calibration.prompts import CalibrationPrompt
from workers.calibration.recorder import TrialRecorder
from workers.early_exit import EarlyExit, ExitRules
from workers.engine import Controller, EngineConfig, EngineRequest, LLMEngine
from workers.rollouts import Rollout, run_requests
from workers.sampling_defaults import SamplingDefaults
from workers.tokenizer import Tokenizer

_CONCURRENCY = 16
_TRIALS_PER_REQUEST = 3  # that have not ended when the next begins


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingConfig:
    """How to ask: `temperature` None is the model's own default."""

    model_dir: Path
    budget_tokens: int = 10_000
    max_answer_tokens: int = 256
    temperature: float | None = None
    device: str = "cpu"
    threads: int = 1


class Recording:
    """One model, asked many prompts."""

    def __init__(self, config: RecordingConfig, rules: ExitRules, seed: int) -> None:
        """Load the model; raises CheckpointError, or ValueError when it does not think."""
        torch.set_num_threads(config.threads)
        self._config = config
        self._seed = seed
        self._full_answers: dict[int, str] = {}
        self.tokenizer = Tokenizer(config.model_dir)
        if not self.tokenizer.can_think:
            raise ValueError(f"{config.model_dir} has no <think> and </think>: nothing to stop")
        self._defaults = SamplingDefaults.load(config.model_dir)
        trial_ids = self.tokenizer.encode_text(rules.trial_text)
        self.num_fed = 1 + len(trial_ids)
        self._recorder = TrialRecorder(
            step_end_ids=self.tokenizer.step_end_ids(rules.separators),
            trial_ids=trial_ids,
            max_trial_tokens=rules.max_trial_tokens,
        )
        self._engine = self._make_engine(self._recorder)

    def confirm(self, prompts: Mapping[int, CalibrationPrompt], rules: ExitRules) -> int:
        """Ask prompts, by their index, again with the rules at work; how many answers they lose."""
        controller = EarlyExit.of(rules, self.tokenizer)
        engine = self._make_engine(controller)
        requests = (self._request(i, prompt) for i, prompt in prompts.items())
        losses = 0
        for rollout in run_requests(engine, requests, _CONCURRENCY):
            index = int(rollout.request_id)
            answer = self.tokenizer.decode(rollout.answer_ids)
            losses += not prompts[index].is_kept(answer, self._full_answers[index])
        return losses

    @property
    def num_lost(self) -> int:
        """Trials that there was no room for."""
        return self._recorder.num_lost + self._engine.load().branches_dropped

    def run(self, prompts: Sequence[CalibrationPrompt]) -> Iterator[tuple[int, RecordedProblem]]:
        """The index of each prompt with its record, in the order in which they end."""
        requests = (self._request(i, prompt) for i, prompt in enumerate(prompts))
        for rollout in run_requests(self._engine, requests, _CONCURRENCY):
            index = int(rollout.request_id)
            self._full_answers[index] = self.tokenizer.decode(rollout.answer_ids)
            yield index, self._record(prompts[index], rollout)

    def _record(self, prompt: CalibrationPrompt, rollout: Rollout) -> RecordedProblem:
        trials = self._recorder.take(rollout.request_id)
        full = self._full_answers[int(rollout.request_id)]
        return RecordedProblem(
            thinking_tokens=len(rollout.thinking_ids),
            trials=trials,
            is_kept=tuple(
                prompt.is_kept(self.tokenizer.decode(trial.answer_ids), full) for trial in trials
            ),
        )

    def _request(self, index: int, prompt: CalibrationPrompt) -> EngineRequest:
        ids = self.tokenizer.encode_prompt(prompt.text)
        temperature = self._config.temperature
        return EngineRequest(
            request_id=str(index),
            prompt_ids=ids,
            prompt_opens_thinking=self.tokenizer.opens_thinking(ids),
            thinking_budget=self._config.budget_tokens,
            max_answer_tokens=self._config.max_answer_tokens,
            temperature=self._defaults.temperature if temperature is None else temperature,
            top_p=self._defaults.top_p,
            seed=self._seed + index,
        )

    def _make_engine(self, controller: Controller) -> LLMEngine:
        config = EngineConfig(
            model_dir=self._config.model_dir,
            device=self._config.device,
            max_running=_TRIALS_PER_REQUEST * _CONCURRENCY,
            max_branch_share=1.0,
        )
        return LLMEngine(config, self.tokenizer.special_tokens(), controller)
