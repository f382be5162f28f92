"""x @ W^T for 1 to 16 rows: a stream of weights, with what surrounds it fused in.

A program owns some output columns and walks the whole inner dimension, so it sees all of x and
can take the RMS norm on the way: norm(x) @ W^T is (x * w) @ W^T divided by the root mean square
of x, which is summed in the same loop.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_ROWS = 16  # the fewest rows that tl.dot takes; fewer are padded


@triton.jit
def skinny_linear_kernel(
    inputs, weight, norm, bias, residual, output, rows, eps,
    OUTPUTS: tl.constexpr, INNER: tl.constexpr, NORMED: tl.constexpr, BIASED: tl.constexpr,
    ADDED: tl.constexpr, GATED: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """`BLOCK_OUT` columns; when `GATED`, of the gate and of the up projection below it."""
    row = tl.arange(0, BLOCK_ROWS)
    column = tl.program_id(0) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    is_row, is_column = row < rows, column < OUTPUTS
    # Columns past the end read the last one: the loads of weights then need no mask.
    start = weight + tl.minimum(column, OUTPUTS - 1).to(tl.int64) * INNER
    sums = tl.zeros((BLOCK_ROWS, BLOCK_OUT), tl.float32)
    up_sums = tl.zeros((BLOCK_ROWS, BLOCK_OUT), tl.float32)
    squares = tl.zeros((BLOCK_ROWS,), tl.float32)
    for k in range(0, INNER, BLOCK_IN):
        inner = k + tl.arange(0, BLOCK_IN)
        is_inner = inner < INNER
        tile = start[:, None] + inner[None, :]
        w = tl.load(tile, mask=is_inner[None, :], other=0.0)
        x = tl.load(
            inputs + row[:, None] * INNER + inner[None, :],
            mask=is_row[:, None] & is_inner[None, :], other=0.0,
        )  # fmt: skip
        if NORMED:
            wide = x.to(tl.float32)
            squares += tl.sum(wide * wide, 1)
            scale = tl.load(norm + inner, mask=is_inner, other=0.0).to(tl.float32)
            x = (wide * scale[None, :]).to(w.dtype)
        sums = tl.dot(x, tl.trans(w), sums, input_precision=PRECISION)
        if GATED:
            up = tl.load(tile + OUTPUTS * INNER, mask=is_inner[None, :], other=0.0)
            up_sums = tl.dot(x, tl.trans(up), up_sums, input_precision=PRECISION)
    if NORMED:
        rstd = tl.rsqrt(squares / INNER + eps)[:, None]
        sums *= rstd
        up_sums *= rstd
    if GATED:
        sums = sums * tl.sigmoid(sums) * up_sums
    if BIASED:
        sums += tl.load(bias + column, mask=is_column, other=0.0).to(tl.float32)[None, :]
    at = row[:, None].to(tl.int64) * OUTPUTS + column[None, :]
    is_output = is_row[:, None] & is_column[None, :]
    if ADDED:
        sums += tl.load(residual + at, mask=is_output, other=0.0).to(tl.float32)
    tl.store(output + at, sums.to(output.dtype.element_ty), mask=is_output)


def skinny_linear(
    inputs: Tensor,
    weight: Tensor,
    num_processors: int,
    *,
    norm: Tensor | None = None,
    eps: float = 0.0,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    gated: bool = False,
) -> Tensor:
    """Up to 16 rows, contiguous: optional norm before; gate, bias and residual after.

    `weight` (outputs, inner) is contiguous; with `gated` it has gate above up, 2 * outputs rows.
    """
    rows, inner = inputs.shape
    assert rows <= MAX_ROWS, "larger batches are cuBLAS's"
    assert weight.is_contiguous(), "the CPU's layout of weights is another one"
    outputs = weight.shape[0] // (2 if gated else 1)
    output = torch.empty((rows, outputs), dtype=inputs.dtype, device=inputs.device)
    block_out = choose_block_out(outputs, num_processors)
    is_float32 = inputs.dtype == torch.float32
    skinny_linear_kernel[(triton.cdiv(outputs, block_out),)](
        inputs, weight, inputs if norm is None else norm, inputs if bias is None else bias,
        inputs if residual is None else residual, output, rows, eps,
        OUTPUTS=outputs, INNER=inner, NORMED=norm is not None, BIASED=bias is not None,
        ADDED=residual is not None, GATED=gated, BLOCK_ROWS=MAX_ROWS, BLOCK_OUT=block_out,
        BLOCK_IN=_choose_block_in(block_out, norm is not None, is_float32),
        PRECISION="ieee" if is_float32 else "tf32",
        num_warps=4, num_stages=2 if is_float32 else 4,
    )  # fmt: skip
    return output


def choose_block_out(outputs: int, num_processors: int) -> int:
    """The widest block of columns that still gives every processor one."""
    wide = (64, 32)
    return next((block for block in wide if outputs >= block * num_processors), 16)


def _choose_block_in(block_out: int, is_normed: bool, is_float32: bool) -> int:
    """Few narrow programs each keep more of the weights on their way."""
    if is_float32:
        return 64
    return 256 if block_out == 16 and not is_normed else 128
