"""silu(gate) * up, for batches that cuBLAS takes; skinny_linear has it in its epilogue."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


@triton.jit
def silu_mul_kernel(gate_up, output, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """A block of one row."""
    row, dims = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    used = dims < SIZE
    gate = tl.load(gate_up + row * 2 * SIZE + dims, mask=used, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * SIZE + SIZE + dims, mask=used, other=0.0).to(tl.float32)
    result = gate * tl.sigmoid(gate) * up
    tl.store(output + row * SIZE + dims, result.to(output.dtype.element_ty), mask=used)


def silu_mul(gate_up: Tensor) -> Tensor:
    """(rows, size) from `gate_up` (rows, 2 * size), contiguous: gate, then up."""
    rows, size = gate_up.shape[0], gate_up.shape[1] // 2
    output = torch.empty((rows, size), dtype=gate_up.dtype, device=gate_up.device)
    silu_mul_kernel[(rows, triton.cdiv(size, _BLOCK))](
        gate_up, output, SIZE=size, BLOCK=_BLOCK, num_warps=4
    )
    return output
