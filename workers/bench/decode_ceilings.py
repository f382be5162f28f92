"""What the machine can do at best, measured, and how long a decode step must take by that."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from workers.engine.models.memory import num_parameters
from workers.engine.models.spec import ModelSpec

_REPEATS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """Best of several runs each. A copy counts its bytes twice: they are read and written."""

    copy_bytes_per_s: float
    read_bytes_per_s: float
    matmul_flop_per_s: float

    def step_floor_s(self, work: "StepWork") -> float:
        """The least time for a decode step: matrices by bytes or by arithmetic, then the keys."""
        matrices_s = max(
            work.weight_bytes / self.copy_bytes_per_s, work.flop / self.matmul_flop_per_s
        )
        return matrices_s + work.kv_bytes / self.copy_bytes_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWork:
    """What one decode step has to read, and to multiply in the matrices."""

    weight_bytes: int
    kv_bytes: int
    flop: int

    @classmethod
    def of(cls, spec: ModelSpec, dtype: torch.dtype, batch: int, context: int) -> "StepWork":
        """`batch` rows of `context` tokens each; an untied embedding is not read as a whole."""
        parameters = num_parameters(spec)
        if not spec.tied_embeddings:
            parameters -= spec.vocab_size * spec.hidden_size
        keys = sum(min(context, window or context) for window in spec.windows)
        return cls(
            weight_bytes=parameters * dtype.itemsize,
            kv_bytes=batch * keys * 2 * spec.num_kv_heads * spec.head_dim * dtype.itemsize,
            flop=2 * parameters * batch,
        )

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes


def measure_ceilings(device: torch.device, dtype: torch.dtype, *, quick: bool) -> Ceilings:
    """Buffers far larger than the caches of the processor, square matrices."""
    is_gpu = device.type == "cuda"
    num_bytes = (1 << 22) if quick else (1 << 32) if is_gpu else (1 << 29)
    size = 256 if quick else 8192 if is_gpu else 1024
    source = torch.ones(num_bytes // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    rows, vector = source.view(-1, 4096), torch.ones(4096, dtype=dtype, device=device)
    square = torch.randn(size, size, device=device).to(dtype)
    with torch.inference_mode():
        copy_s = _best_s(lambda: target.copy_(source), device)
        read_s = _best_s(lambda: rows.mv(vector), device)
        matmul_s = _best_s(lambda: square.mm(square), device)
    return Ceilings(
        copy_bytes_per_s=2 * num_bytes / copy_s,
        read_bytes_per_s=num_bytes / read_s,
        matmul_flop_per_s=2 * size**3 / matmul_s,
    )


def _best_s(call: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(_REPEATS):
        synchronize(device)
        started_s = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - started_s)
    return min(times)


def synchronize(device: torch.device) -> None:
    """Wait for what the GPU still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
