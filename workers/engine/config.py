"""The engine's configuration. Built by the worker, read everywhere in the engine."""

import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How one engine runs; raises ValueError naming every field that is out of range.

    `num_pages` sizes the KV pool exactly; None takes what `max_running` sequences of
    `max_model_len` need, at most `memory_fraction` of the memory that is free at start.

    A request begins on probation, ahead of all others; after `probation_tokens` tokens it is
    demoted: it may use every idle slot and keeps `demoted_floor` of them. For one on probation that
    has waited `preemption_grace_s` another that has had more gives way. Preempted requests run by
    expected remaining tokens, less `aging_tokens_per_s` for each second that they wait.

    The prefill of a step is sized so that the step takes `target_token_s` while others decode,
    within `min_prefill_chunk_tokens` and `prefill_chunk_tokens`.
    """

    model_dir: Path
    device: str = "cpu"
    dtype: str = "auto"  # float32 on CPU, bfloat16 on CUDA
    page_size: int = 16  # tokens per KV page
    num_pages: int | None = None
    memory_fraction: float = 0.5
    max_running: int = 64  # requests in one batch
    max_waiting: int = 4096
    max_model_len: int = 16384  # prompt + thinking + forced + answer tokens
    prefill_chunk_tokens: int = 512  # most prefill tokens per step, over all sequences
    min_prefill_chunk_tokens: int = 64  # even when decode alone takes longer than that
    target_token_s: float = 0.05  # inter-token latency that prefill keeps to
    watermark: float = 0.02  # share of the pages that admission leaves free
    prefix_cache: bool = True  # equal prefixes share their pages
    max_preemptions: int = 2  # a sequence preempted so often is spared while others are not
    probation_tokens: int = 600  # the moderate tier's 500 and an answer
    demoted_floor: float = 0.125  # share of max_running that demoted requests keep
    preemption_grace_s: float = 0.0
    aging_tokens_per_s: float = 100.0
    max_branch_share: float = 0.25  # branches beside the requests, as a share of max_running
    max_step_faults: int = 3  # in a row; the engine ends with the last of them
    thinking_stream_tokens: int = 16  # thinking tokens per output; answers stream at once

    @property
    def max_branches(self) -> int:
        """Branches that may live at once; they have rows of their own beside `max_running`."""
        return int(self.max_branch_share * self.max_running)

    @property
    def max_rows(self) -> int:
        """Rows of the largest batch: requests and branches."""
        return self.max_running + self.max_branches

    def __post_init__(self) -> None:
        problems = [*self._size_problems(), *self._range_problems()]
        if problems:
            raise ValueError("engine configuration: " + "; ".join(problems))

    def _size_problems(self) -> list[str]:
        names = (
            "page_size",
            "max_running",
            "max_waiting",
            "max_model_len",
            "prefill_chunk_tokens",
            "min_prefill_chunk_tokens",
            "max_step_faults",
            "thinking_stream_tokens",
        )
        low = [f"{name} must be at least 1" for name in names if getattr(self, name) < 1]
        if self.num_pages is not None and self.num_pages < 2:
            low.append("num_pages must be at least 2")
        return low

    def _range_problems(self) -> list[str]:
        problems = []
        if self.dtype not in ("auto", "float32", "bfloat16", "float16"):
            problems.append("dtype must be auto, float32, bfloat16 or float16")
        if not 0 < self.memory_fraction < 1:
            problems.append("memory_fraction must be between 0 and 1")
        if not 0 <= self.watermark < 1:
            problems.append("watermark must be in [0, 1)")
        for name in ("max_preemptions", "probation_tokens", "preemption_grace_s"):
            if not getattr(self, name) >= 0:  # also refuses NaN
                problems.append(f"{name} must not be negative")
        for name in ("demoted_floor", "max_branch_share"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(f"{name} must be in [0, 1]")
        for name in ("target_token_s", "aging_tokens_per_s"):
            if not 0 < getattr(self, name) < math.inf:
                problems.append(f"{name} must be above 0")
        return problems
