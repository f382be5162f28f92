"""A worker whose scheduler is the real one and whose tokens are scripted. No torch, no clock.

Between two events of a batch (a phase or level that changes, an arrival, the end of a grace) all
steps are alike: they are taken at once, which changes no time. test_worker.py holds the two against
each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from workers.bench.blocking.service import StepModel
from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.config import EngineConfig
from workers.engine.limits import RequestLimits
from workers.engine.plan import StepPlan, StepResult
from workers.engine.request import EngineOutput, EngineRequest
from workers.engine.scheduler import Scheduler
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable
from workers.engine.thinking import Phase, SpecialTokens

_EOS_ID, _CLOSE_ID, _OPEN_ID, _FIRST_TEXT_ID = range(4)
_TOKENS: Final = SpecialTokens(
    eos_ids=frozenset({_EOS_ID}), think_open_id=_OPEN_ID, think_close_id=_CLOSE_ID
)
_PAGE_TOKENS: Final = 64
LONGEST_ANSWER: Final = 64
MAX_MODEL_TOKENS: Final = 12_288
"""Prompt, the largest tier and an answer."""

_NEVER: Final = 1 << 30  # steps


def worker_config(
    max_running: int, max_model_tokens: int = MAX_MODEL_TOKENS, **overrides: float
) -> EngineConfig:
    """The engine's defaults, for so many slots."""
    return EngineConfig(
        model_dir=Path(),
        page_size=_PAGE_TOKENS,
        max_running=max_running,
        max_model_len=max_model_tokens,
        thinking_stream_tokens=max_model_tokens,
        **overrides,  # type: ignore[arg-type]  # ints and floats by name, checked when it is built
    )


@dataclass(frozen=True, slots=True)
class Script:
    """What a request will sample: `need_tokens` of thinking if it may, then its answer."""

    need_tokens: int
    answer_tokens: int


@dataclass(slots=True)
class _Window:
    """`num_steps` steps alike from `start_s` on, all of one plan."""

    plan: StepPlan
    start_s: float
    step_s: float
    num_steps: int

    @property
    def end_s(self) -> float:
        return self.start_s + self.num_steps * self.step_s

    def steps_until(self, now_s: float) -> int:
        """Steps that have ended but for the last, which is not committed yet."""
        return min(self.num_steps - 1, int((now_s - self.start_s) / self.step_s))


class SimulatedWorker:
    """Add requests, then call `run` at each `next_s`."""

    def __init__(
        self, config: EngineConfig, model: StepModel, longest_window: int = _NEVER
    ) -> None:
        """`longest_window`: most steps taken at once; 1 takes each by itself."""
        geometry = KvGeometry(
            page_size=config.page_size,
            sliding_window=None,
            bytes_per_page=1,
            max_chunk_tokens=config.prefill_chunk_tokens,
        )
        pages = geometry.num_pages(config.max_model_len)
        pool = PagePool(int(config.max_running * pages / (1 - config.watermark)) + 2)
        slots = SlotTable(config.max_rows, pages)
        self.scheduler = Scheduler(config, geometry, pool, slots)
        self.num_computed_tokens = 0
        self._pool = pool
        self._config = config
        self._model = model
        self._limits = RequestLimits(_TOKENS, vocab_size=4, max_model_len=config.max_model_len)
        self._longest_window = longest_window
        self._window: _Window | None = None
        self._sequences: dict[str, Sequence] = {}

    @property
    def next_s(self) -> float | None:
        """When the steps under way end; None when idle."""
        return None if self._window is None else self._window.end_s

    def add(self, request: EngineRequest, script: Script, now_s: float) -> None:
        """Queue a request; it is planned when the step under way ends. Raises QueueFull."""
        sequence = Sequence.of(request, _TOKENS, now_s)
        sequence.watch = script
        self.scheduler.add(sequence, self._limits.most_tokens(request))
        self._sequences[request.request_id] = sequence
        self.wake(now_s)

    def thought_tokens(self, request_id: str, now_s: float) -> int:
        """Thinking tokens of a request that has not ended."""
        sequence, window = self._sequences[request_id], self._window
        thought = sequence.thinking.thinking_tokens
        if window is None or not sequence.is_running or sequence.thinking.phase is not Phase.THINK:
            return thought
        return thought + window.steps_until(now_s)

    def abort(self, request_id: str, now_s: float) -> EngineOutput | None:
        """End a request now; what the step under way samples for it is lost."""
        if self._window is not None:
            self._settle(self._window, now_s)
        output = self.scheduler.abort(request_id, now_s)
        self._sequences.pop(request_id, None)
        self.wake(now_s)
        return output

    def wake(self, now_s: float) -> None:
        """Let the next step be planned anew: now if idle, else when the one under way ends."""
        if self._window is None:
            self._plan(now_s)
        else:
            passed = math.ceil((now_s - self._window.start_s) / self._window.step_s)
            self._window.num_steps = min(self._window.num_steps, max(1, passed))

    def run(self) -> list[EngineOutput]:
        """Take the steps under way and plan the next; returns what ended."""
        window = self._window
        assert window is not None, "an idle worker has nothing to run"
        self._window = None
        outputs = self._take(window)
        self._plan(window.end_s)
        ended = [output for output in outputs if output.finished is not None]
        for output in ended:
            del self._sequences[output.request_id]
        return ended

    def _settle(self, window: _Window, now_s: float) -> None:
        """Take the steps under way but for the last, so that counts are those of now."""
        passed = window.steps_until(now_s)
        self._skip(window.plan, passed)
        window.start_s += passed * window.step_s
        window.num_steps -= passed

    def _plan(self, now_s: float) -> None:
        preemptions = self.scheduler.num_preemptions
        plan = self.scheduler.plan(now_s)
        if plan.is_empty:
            # Whoever was preempted for one that waits is admitted in the next plan.
            if self.scheduler.num_preemptions == preemptions:
                return
            plan = self.scheduler.plan(now_s)
        step_s = self._model.duration_s(len(plan.sampled), plan.num_prefill_tokens)
        is_settled = not plan.chunks and self.scheduler.num_preemptions == preemptions
        num_steps = self._steps_alike(plan, now_s, step_s) if is_settled else 1
        self._window = _Window(plan, now_s, step_s, num_steps)

    def _take(self, window: _Window) -> list[EngineOutput]:
        plan = _without_aborted(window.plan)
        if plan.is_empty:
            return []
        self._skip(plan, window.num_steps - 1)
        tokens = np.fromiter(map(_next_token, plan.sampled), np.int64, len(plan.sampled))
        zeros = np.zeros(len(tokens), np.float32)
        self.num_computed_tokens += plan.num_tokens
        result = StepResult(tokens, zeros, zeros, window.end_s, window.step_s)
        return self.scheduler.commit(plan, result)

    def _skip(self, plan: StepPlan, num_steps: int) -> None:
        """Book steps that only sample what the last one sampled."""
        if num_steps == 0:
            return
        memory = self.scheduler.memory
        self.num_computed_tokens += num_steps * len(plan.decode)
        for sequence in plan.decode:
            count = memory.pages_to_grow(sequence, num_steps + 1)
            if count:
                memory.grow(sequence, count)
            sequence.ids.extend([sequence.ids[0]] * num_steps)
            sequence.num_computed += num_steps
            memory.publish(sequence)
            if sequence.thinking.phase is Phase.THINK:
                sequence.thinking.thinking_tokens += num_steps
            else:
                sequence.thinking.answer_tokens += num_steps

    def _steps_alike(self, plan: StepPlan, now_s: float, step_s: float) -> int:
        scheduler = self.scheduler
        if len(plan.decode) < len(scheduler.running):
            return 1
        if scheduler.waiting and len(scheduler.running) < self._config.max_running:
            return 1
        steps = min(self._longest_window, *map(self._tokens_to_event, plan.decode))
        # Each row takes at most one page more than its tokens fill.
        pages = len(plan.decode) * (steps // _PAGE_TOKENS + 1)
        if pages > self._pool.num_free:
            return 1
        return max(1, min(steps, self._steps_to_grace(now_s, step_s)))

    def _tokens_to_event(self, sequence: Sequence) -> int:
        """Tokens until one that changes what the sequence is, that one included."""
        script, thinking = sequence.watch, sequence.thinking
        assert isinstance(script, Script)
        if thinking.phase is Phase.THINK:
            thought = thinking.thinking_tokens
            left = min(script.need_tokens - thought + 1, sequence.request.thinking_budget - thought)
            return min(left, self._tokens_to_level(sequence))
        if thinking.answer_tokens == 0:
            return 1
        left = script.answer_tokens - thinking.answer_tokens + 1
        return min(left, self._tokens_to_level(sequence))

    def _tokens_to_level(self, sequence: Sequence) -> int:
        ends = self.scheduler.waiting.level_ends
        attained = sequence.attained_tokens
        return next((math.ceil(end - attained) for end in ends if end > attained), _NEVER)

    def _steps_to_grace(self, now_s: float, step_s: float) -> int:
        """Steps until the first on probation has waited long enough for somebody's slot.

        When it has already, the plan that was just made found nobody to give way.
        """
        waiting = self.scheduler.waiting.first_on_probation()
        if waiting is None:
            return _NEVER
        left_s = waiting.queued_s + self._config.preemption_grace_s - now_s
        return max(1, math.ceil(left_s / step_s)) if left_s > 0 else _NEVER


def _without_aborted(plan: StepPlan) -> StepPlan:
    decode = [sequence for sequence in plan.decode if sequence.is_running]
    chunks = [chunk for chunk in plan.chunks if chunk.sequence.is_running]
    if (len(decode), len(chunks)) == (len(plan.decode), len(plan.chunks)):
        return plan
    return StepPlan.of(decode, chunks)


def _next_token(sequence: Sequence) -> int:
    script, thinking = sequence.watch, sequence.thinking
    assert isinstance(script, Script)
    text_id = sequence.ids[0]
    if thinking.phase is Phase.THINK:
        return text_id if thinking.thinking_tokens < script.need_tokens else _CLOSE_ID
    return text_id if thinking.answer_tokens < script.answer_tokens else _EOS_ID


def request_of(
    job: int,
    prompt_tokens: int,
    thought_tokens: int,
    budget_tokens: int,
    expected_tokens: float | None,
    answer_tokens: int = 0,
    *,
    answers: bool,
) -> EngineRequest:
    """`answers`: when the budget is spent; otherwise the segment ends there.

    Every job writes a token of its own, so that none finds the pages of another.
    """
    text_id = _FIRST_TEXT_ID + job
    return EngineRequest(
        request_id=str(job),
        prompt_ids=(text_id,) * prompt_tokens,
        thinking_prefix_ids=(text_id,) * thought_tokens,
        thinking_budget=budget_tokens,
        max_answer_tokens=max(LONGEST_ANSWER, answer_tokens),
        answer_on_exhaustion=answers,
        expected_thinking_tokens=expected_tokens,
    )
