"""The engine's configuration. Built by the worker, read everywhere in the engine."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How one engine runs; raises ValueError naming every field that is out of range.

    `num_pages` sizes the KV pool exactly; None takes what `max_running` sequences of
    `max_model_len` need, at most `memory_fraction` of the memory that is free at start.
    """

    model_dir: Path
    device: str = "cpu"
    dtype: str = "auto"  # float32 on CPU, bfloat16 on CUDA
    page_size: int = 16  # tokens per KV page
    num_pages: int | None = None
    memory_fraction: float = 0.5
    max_running: int = 64  # sequences in one batch
    max_waiting: int = 4096
    max_model_len: int = 16384  # prompt + thinking + forced + answer tokens
    prefill_chunk_tokens: int = 512  # prefill tokens per step, over all sequences
    watermark: float = 0.02  # share of the pages that admission leaves free
    max_preemptions: int = 2  # a sequence preempted so often is spared while others are not
    thinking_stream_tokens: int = 16  # thinking tokens per output; answers stream at once

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
        if self.max_preemptions < 0:
            problems.append("max_preemptions must not be negative")
        return problems
