"""Per-head RMS norm, rotary embedding and the write to the paged cache, in one kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from workers.engine.kernels.interface import LayerCache
from workers.engine.row_table import RowBatch


@triton.jit
def rotate_store_kernel(
    heads, qk_norm, cos, sin, keys, values, num_tokens, page_table, slots, query,
    eps, word_stride, page_stride,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, HALF: tl.constexpr,
    PAGE_SIZE: tl.constexpr, NORMED: tl.constexpr,
):  # fmt: skip
    """One head of one token: a query goes to `query`, a key or a value to its page."""
    row, head = tl.program_id(0), tl.program_id(1)
    slot = tl.load(slots + row).to(tl.int64)
    position = tl.maximum(tl.load(num_tokens + slot * word_stride) - 1, 0)
    # The two halves, which the rotation mixes, as one vector each.
    dims = tl.arange(0, HALF)
    used = dims < HEAD_DIM // 2
    source = heads + (row * (HEADS + 2 * KV_HEADS) + head) * HEAD_DIM
    low = tl.load(source + dims, mask=used, other=0.0).to(tl.float32)
    high = tl.load(source + HEAD_DIM // 2 + dims, mask=used, other=0.0).to(tl.float32)
    if head < HEADS + KV_HEADS:
        if NORMED:
            mean = (tl.sum(low * low, 0) + tl.sum(high * high, 0)) / HEAD_DIM
            rstd = tl.rsqrt(mean + eps)
            weight = qk_norm + head * HEAD_DIM + dims
            low *= rstd * tl.load(weight, mask=used, other=0.0).to(tl.float32)
            high *= rstd * tl.load(weight + HEAD_DIM // 2, mask=used, other=0.0).to(tl.float32)
        at = position.to(tl.int64) * HEAD_DIM + dims
        cos_low = tl.load(cos + at, mask=used, other=0.0).to(tl.float32)
        cos_high = tl.load(cos + at + HEAD_DIM // 2, mask=used, other=0.0).to(tl.float32)
        sin_low = tl.load(sin + at, mask=used, other=0.0).to(tl.float32)
        sin_high = tl.load(sin + at + HEAD_DIM // 2, mask=used, other=0.0).to(tl.float32)
        turned = low * cos_low + high * sin_low
        high = high * cos_high + low * sin_high
        low = turned
    if head < HEADS:
        target = query + (row * HEADS + head) * HEAD_DIM
        tl.store(target + dims, low.to(query.dtype.element_ty), mask=used)
        tl.store(target + HEAD_DIM // 2 + dims, high.to(query.dtype.element_ty), mask=used)
    else:
        kv_head = (head - HEADS) % KV_HEADS
        page = tl.load(page_table + slot * word_stride + position // PAGE_SIZE).to(tl.int64)
        place = page * page_stride + (kv_head * PAGE_SIZE + position % PAGE_SIZE) * HEAD_DIM + dims
        if head < HEADS + KV_HEADS:
            tl.store(keys + place, low.to(keys.dtype.element_ty), mask=used)
            tl.store(keys + place + HEAD_DIM // 2, high.to(keys.dtype.element_ty), mask=used)
        else:
            tl.store(values + place, low.to(values.dtype.element_ty), mask=used)
            tl.store(values + place + HEAD_DIM // 2, high.to(values.dtype.element_ty), mask=used)


def rotate_store(
    heads: Tensor,
    qk_norm: Tensor | None,
    angles: tuple[Tensor, Tensor],
    cache: LayerCache,
    batch: RowBatch,
    eps: float,
) -> Tensor:
    """See DecodeKernels.rotate_store; `angles` are the tables of RotaryTable."""
    rows, num_all, head_dim = heads.shape
    kv_heads = cache.keys.shape[1]
    num_heads = num_all - 2 * kv_heads
    query = torch.empty((rows, num_heads, head_dim), dtype=heads.dtype, device=heads.device)
    cos, sin = angles
    rotate_store_kernel[(rows, num_all)](
        heads, heads if qk_norm is None else qk_norm, cos, sin, cache.keys, cache.values,
        batch.table.num_tokens, batch.table.page_table, batch.slots, query,
        eps, batch.table.word_stride, cache.keys.stride(0),
        HEADS=num_heads, KV_HEADS=kv_heads, HEAD_DIM=head_dim,
        HALF=triton.next_power_of_2(head_dim // 2), PAGE_SIZE=cache.keys.shape[2],
        NORMED=qk_norm is not None, num_warps=1,
    )  # fmt: skip
    return query
