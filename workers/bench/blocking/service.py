"""How long a worker's step takes, and what a request takes with a worker to itself. Pure."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

PREFILL_CHUNK_TOKENS: Final = 512
"""EngineConfig's own: what one step prefills at most."""


@dataclass(frozen=True, slots=True)
class StepModel:
    """Seconds of a step: `base_s`, `row_s` for each row beyond the first, `prefill_s` per token.

    `roofline` is that of a model of 8 billion parameters (Qwen3-8B: 36 layers, 8 KV heads of 128)
    in bfloat16 on an H100 (data sheet: 3.35 TB/s, 989 TFLOP/s dense): a step reads 16.4 GB of
    weights in 4.9 ms, each row 147 kB of KV per token, 0.05 ms after 1,000; a prefilled token takes
    16.4 GFLOP, 0.03 ms at half of the peak. What the host adds is not in it.
    """

    base_s: float
    row_s: float
    prefill_s: float

    @classmethod
    def roofline(cls) -> Self:
        return cls(base_s=0.005, row_s=0.00005, prefill_s=0.00003)

    def duration_s(self, num_rows: int, prefill_tokens: int = 0) -> float:
        """Of a step that decodes so many rows, and prefills."""
        return self.base_s + self.row_s * max(0, num_rows - 1) + self.prefill_s * prefill_tokens

    def slot_tokens_per_s(self, num_slots: int) -> float:
        """What each slot of a full batch samples."""
        return 1.0 / self.duration_s(num_slots)

    def alone_s(
        self, prompt_tokens: NDArray[np.int64], sampled_tokens: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Response of a request on an idle worker; its first token is sampled by its prefill."""
        chunks = -(-prompt_tokens // PREFILL_CHUNK_TOKENS)
        steps = sampled_tokens - 1 + chunks
        alone: NDArray[np.float64] = steps * self.base_s + prompt_tokens * self.prefill_s
        return alone
