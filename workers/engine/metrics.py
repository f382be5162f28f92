"""What the engine measures about itself, as moving averages over recent steps."""

from dataclasses import dataclass

from workers.engine.plan import StepPlan
from workers.engine.request import EngineOutput, FinishReason

# Both of busy time. The pace is what deadlines are kept by: it must follow a batch that grows.
_HALF_LIFE_S = 5.0
_PACE_HALF_LIFE_S = 0.5
_LONG_STEP_HALF_LIFE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """A snapshot. Rates and times are 0 until there is something to measure."""

    running: int
    waiting: int
    pages_free: int
    pages_total: int
    preemptions: int
    tokens_per_s: float  # sampled tokens over busy time, all requests together
    time_per_output_token_s: float  # of one request
    time_to_first_token_s: float
    batch_size: float  # sequences that a step decodes
    long_step_s: float  # of late but one step took longer
    prefix_tokens: int  # of prompts and resumed requests, found in the cache
    branches_dropped: int  # for want of room
    not_finite: int  # requests and branches whose logits were not
    out_of_memory: int  # steps
    failed: int  # requests
    step_faults: int
    sampled_tokens: int
    busy_s: float
    finished: int


class EngineMetrics:
    """Written by the engine's thread after each step; reading is safe from any thread."""

    def __init__(self) -> None:
        self.sampled_tokens = 0
        self.busy_s = 0.0
        self.finished = 0
        self.time_to_first_token_s = 0.0
        self.time_per_output_token_s = 0.0
        self.failed = 0
        self.out_of_memory = 0
        self.step_faults = 0
        self._num_first_tokens = 0
        self._recent_row_s = 0.0
        self._recent_tokens = 0.0
        self._recent_s = 0.0
        self._longest_s = (0.0, 0.0)

    @property
    def long_step_s(self) -> float:
        """The second longest of late: one alone may have hung."""
        return self._longest_s[1]

    @property
    def tokens_per_s(self) -> float:
        return self._recent_tokens / self._recent_s if self._recent_s else 0.0

    @property
    def batch_size(self) -> float:
        return self._recent_row_s / self._recent_s if self._recent_s else 0.0

    def record_step(self, plan: StepPlan, duration_s: float) -> None:
        """Book the tokens and the time of one step."""
        num_sampled = len(plan.sampled)
        self.sampled_tokens += num_sampled
        self.busy_s += duration_s
        decay = 0.5 ** (duration_s / _HALF_LIFE_S)
        self._recent_tokens = self._recent_tokens * decay + num_sampled
        self._recent_s = self._recent_s * decay + duration_s
        self._recent_row_s = self._recent_row_s * decay + len(plan.decode) * duration_s
        self._record_length(duration_s)
        if plan.decode:
            self._record_pace(duration_s)

    def _record_length(self, duration_s: float) -> None:
        decay = 0.5 ** (duration_s / _LONG_STEP_HALF_LIFE_S)
        longest_s, second_s = self._longest_s
        longest_s, second_s, _ = sorted((longest_s * decay, second_s * decay, duration_s))[::-1]
        self._longest_s = longest_s, second_s

    def _record_pace(self, duration_s: float) -> None:
        """Weighted by time, not by steps: else many quick steps of before outweigh slow ones."""
        pace_s = self.time_per_output_token_s
        weight = 1.0 - 0.5 ** (duration_s / _PACE_HALF_LIFE_S) if pace_s else 1.0
        self.time_per_output_token_s = pace_s + weight * (duration_s - pace_s)

    def record_outputs(self, outputs: list[EngineOutput]) -> None:
        """Book the requests that ended."""
        for output in outputs:
            if output.finished is not None:
                self.finished += 1
                self.failed += output.finished.reason is FinishReason.FAILED

    def record_first_tokens(self, plan: StepPlan, ended_s: float) -> None:
        """Book the requests whose first token came with this step: a chunk sampled it."""
        for chunk in plan.chunks:
            if chunk.sequence.first_token_s == ended_s:
                sample_s = ended_s - chunk.sequence.arrived_s
                self._num_first_tokens += 1
                weight = max(0.1, 1 / self._num_first_tokens)
                self.time_to_first_token_s += weight * (sample_s - self.time_to_first_token_s)
