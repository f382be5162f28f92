"""RMS norm of whole rows (Zhang, Sennrich 2019, arXiv:1910.07467), for batches that cuBLAS takes.

Small batches have it in the prologue of skinny_linear.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def rms_norm_kernel(hidden, weight, output, eps, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    """One row."""
    dims = tl.arange(0, BLOCK)
    used = dims < SIZE
    at = tl.program_id(0).to(tl.int64) * SIZE + dims
    values = tl.load(hidden + at, mask=used, other=0.0).to(tl.float32)
    rstd = tl.rsqrt(tl.sum(values * values, 0) / SIZE + eps)
    scaled = values * rstd * tl.load(weight + dims, mask=used, other=0.0).to(tl.float32)
    tl.store(output + at, scaled.to(output.dtype.element_ty), mask=used)


def rms_norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`hidden` (rows, size), contiguous, divided by its root mean square, times `weight`."""
    output = torch.empty_like(hidden)
    rows, size = hidden.shape
    block = triton.next_power_of_2(size)
    rms_norm_kernel[(rows,)](
        hidden, weight, output, eps, SIZE=size, BLOCK=block, num_warps=8 if block > 2048 else 4
    )
    return output
