"""Compiles every decode kernel for Hopper without a GPU and reports what it needs.

    python -m tests.workers.engine.kernels.cross_compile

The launches are those of FusedKernels at published model shapes, made on CPU tensors and stopped
before they would run; so what is compiled is what the engine runs. Prints JSON: the kernels, and
some that were given too few registers, to show that the report tells. The stack holds what the
registers could not: a kernel with one has spilled.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from tests.workers.engine.kernels.shapes import QWEN3_06B, QWEN3_8B, QWEN25_05B
from workers.engine import SpecialTokens
from workers.engine.kernels.decode_attention import DecodeAttention
from workers.engine.kernels.fused import FusedKernels
from workers.engine.kernels.interface import LayerCache
from workers.engine.kernels.rms_norm import rms_norm
from workers.engine.kernels.sample import sample
from workers.engine.kernels.silu_mul import silu_mul
from workers.engine.models.rope import RotaryTable
from workers.engine.models.spec import ModelSpec
from workers.engine.row_table import RowBatch, RowTable
from workers.engine.sampler import Sampler

LARGE_BATCH = 64
NUM_PROCESSORS = 132  # streaming multiprocessors of an H100
HOPPER = GPUTarget("cuda", 90, 32)
_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)")


@dataclass(frozen=True, slots=True)
class CompiledKernel:
    """Resources of one compiled variant; `shared_bytes` includes what the launch asks for."""

    name: str
    constants: dict[str, Any]
    registers: int
    stack_bytes: int
    shared_bytes: int


class _AbsentDriver:
    """What compiling asks of a driver: the target. There is no device to launch on."""

    def get_current_target(self) -> GPUTarget:
        return HOPPER

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


@contextmanager
def recorded_launches(**forced_options: int) -> Iterator[list[CompiledKernel]]:
    """Launches within are compiled for Hopper, measured and not run."""
    seen: set[str] = set()
    result: list[CompiledKernel] = []
    run = JITFunction.run

    def compile_only(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        built = run(kernel, *args, grid=grid, warmup=True, **(options | forced_options))
        if built.hash not in seen:
            seen.add(built.hash)
            constants = {k: v for k, v in options.items() if k.isupper()}
            result.append(measure(kernel.__name__, constants, built))
        return built

    driver.set_active(_AbsentDriver())
    JITFunction.run = compile_only
    try:
        yield result
    finally:
        JITFunction.run = run


def measure(name: str, constants: dict[str, Any], built: Any) -> CompiledKernel:
    """Ask cuobjdump, which comes with triton, what a cubin needs."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        command = [str(_CUOBJDUMP), "-res-usage", file.name]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = _USAGE.search(text)
    if found is None:
        raise RuntimeError(f"cuobjdump does not report the resources of {name}: {text!r}")
    registers, stack_bytes, static_bytes = (int(number) for number in found.groups())
    shared_bytes = max(static_bytes, int(built.metadata.shared))
    return CompiledKernel(name, constants, registers, stack_bytes, shared_bytes)


def launch_decode(spec: ModelSpec, dtype: torch.dtype = torch.bfloat16) -> None:
    """Every kernel of a decode step at batch 1, and what larger batches launch instead."""
    device = torch.device("cpu")
    rotary = RotaryTable(spec, 64, dtype, device)
    sampler = Sampler(SpecialTokens(eos_ids=frozenset({2}), think_close_id=4), device)
    attention = DecodeAttention(spec, LARGE_BATCH, NUM_PROCESSORS, device)
    kernels = FusedKernels(spec, rotary, sampler, attention, NUM_PROCESSORS)
    table = RowTable(LARGE_BATCH, 64, device)
    cache = LayerCache(*_empty(dtype, 2, 4, spec.num_kv_heads, 16, spec.head_dim).unbind())
    for rows in (1, LARGE_BATCH):
        batch = RowBatch(table, torch.zeros(rows, dtype=torch.int32))
        kernels.attend(_empty(dtype, rows, spec.num_heads, spec.head_dim), cache, batch, None)
    batch = RowBatch(table, torch.zeros(1, dtype=torch.int32))
    num_all = spec.num_heads + 2 * spec.num_kv_heads
    qk_norm = _empty(dtype, num_all - spec.num_kv_heads, spec.head_dim) if spec.qk_norm else None
    kernels.rotate_store(_empty(dtype, 1, num_all, spec.head_dim), qk_norm, cache, batch)
    _launch_linears(kernels, spec, dtype)
    rms_norm(_empty(dtype, LARGE_BATCH, spec.hidden_size), _empty(dtype, spec.hidden_size), 1e-6)
    silu_mul(_empty(dtype, LARGE_BATCH, 2 * spec.intermediate_size))
    logits = _empty(dtype, 1, spec.vocab_size)
    for floors in (None, _empty(torch.float32, 1)):
        sample(logits, batch, sampler.banned_ids, floors, sampler.close_id)


def _launch_linears(kernels: FusedKernels, spec: ModelSpec, dtype: torch.dtype) -> None:
    hidden, attended = spec.hidden_size, spec.num_heads * spec.head_dim
    qkv = attended + 2 * spec.num_kv_heads * spec.head_dim
    state, norm = _empty(dtype, 1, hidden), _empty(dtype, hidden)
    bias = _empty(dtype, qkv) if spec.qkv_bias else None
    kernels.norm_linear(state, norm, _empty(dtype, qkv, hidden), bias)
    kernels.norm_linear(state, norm, _empty(dtype, spec.vocab_size, hidden), None)
    kernels.norm_gate_up(state, norm, _empty(dtype, 2 * spec.intermediate_size, hidden))
    for inner in (attended, spec.intermediate_size):
        inputs = _empty(dtype, 1, inner)
        kernels.linear_add(inputs, _empty(dtype, hidden, inner), None, state)


def _empty(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Memory that is never touched, so that 8B shapes cost nothing."""
    return torch.empty(shape, dtype=dtype)


def main() -> None:
    """Compile for each shape and print."""
    with recorded_launches() as kernels:
        for spec in (QWEN3_06B, QWEN3_8B, QWEN25_05B):
            launch_decode(spec)
        launch_decode(replace(QWEN25_05B, vocab_size=5000), torch.float32)
    with recorded_launches(maxnreg=32) as starved:
        launch_decode(replace(QWEN25_05B, head_dim=128))
    report = {"kernels": kernels, "starved": starved}
    print(json.dumps({name: [asdict(k) for k in found] for name, found in report.items()}))


if __name__ == "__main__":
    main()
