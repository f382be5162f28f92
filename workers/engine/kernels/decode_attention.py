"""Attention of one query per row over paged keys and values, split along the keys.

Grid (rows, kv_heads, splits). Each program reads a span of one key head for all query heads
that share it and leaves a partial output with its log-sum-exp (base 2); a second kernel merges
the spans. Lengths and page tables are read on the device, so the grid depends on the batch
bucket alone and the launch can be captured.

Source: Flash-Decoding (Dao, Haziza, Massa, Sizov 2023), with the online softmax of
FlashAttention-2 (arXiv:2307.08691, section 3.1).
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from workers.engine.kernels.interface import LayerCache
from workers.engine.models.spec import ModelSpec
from workers.engine.row_table import RowBatch

BLOCK_TOKENS = 64  # keys per iteration
MIN_SPLIT_TOKENS = 128  # shorter spans cost more in merging than they gain
MAX_SPLITS = 32
_LOG2_E = 1.4426950408889634


@triton.jit
def _load_keys(
    cache, pages, positions, seen, head, page_stride, PAGE_SIZE: tl.constexpr,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """A block (tokens, dims) of one head of keys or values; 0 where not seen."""
    dims = tl.arange(0, DIM)
    token = pages.to(tl.int64) * page_stride + (head * PAGE_SIZE + positions % PAGE_SIZE) * HEAD_DIM
    mask = seen[:, None] & (dims < HEAD_DIM)[None, :]
    return tl.load(cache + token[:, None] + dims[None, :], mask=mask, other=0.0)


@triton.jit
def split_kernel(
    query, keys, values, num_tokens, page_table, slots, partial, partial_lse, output,
    scale, word_stride, page_stride,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, GROUP_ROWS: tl.constexpr,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, PAGE_SIZE: tl.constexpr, WINDOW: tl.constexpr,
    SPLITS: tl.constexpr, BLOCK: tl.constexpr, MIN_SPLIT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One span of one key head; `WINDOW` 0 sees every key."""
    row, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    slot = tl.load(slots + row).to(tl.int64)
    length = tl.load(num_tokens + slot * word_stride)
    first = tl.maximum(length - WINDOW, 0) if WINDOW > 0 else 0
    span = tl.maximum(tl.cdiv(tl.cdiv(length - first, SPLITS), BLOCK) * BLOCK, MIN_SPLIT)
    begin = first + split * span
    end = tl.minimum(begin + span, length)

    group, dims = tl.arange(0, GROUP_ROWS), tl.arange(0, DIM)
    heads = row * KV_HEADS * GROUP + head * GROUP + group
    used = (group < GROUP)[:, None] & (dims < HEAD_DIM)[None, :]
    at = heads[:, None] * HEAD_DIM + dims[None, :]
    q = tl.load(query + at, mask=used, other=0.0)

    peak = tl.full((GROUP_ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((GROUP_ROWS,), tl.float32)
    sums = tl.zeros((GROUP_ROWS, DIM), tl.float32)
    # Without keys the loop does not run: no -inf minus -inf, which would be NaN.
    for start in range(begin, end, BLOCK):
        positions = start + tl.arange(0, BLOCK)
        seen = positions < end
        pages = tl.load(
            page_table + slot * word_stride + positions // PAGE_SIZE, mask=seen, other=0
        )
        k = _load_keys(keys, pages, positions, seen, head, page_stride, PAGE_SIZE, HEAD_DIM, DIM)
        v = _load_keys(values, pages, positions, seen, head, page_stride, PAGE_SIZE, HEAD_DIM, DIM)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = tl.where(seen[None, :], scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1))
        weights = tl.exp2(scores - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        total = total * shrink + tl.sum(weights, 1)
        mixed = tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        sums = sums * shrink[:, None] + mixed
        peak = new_peak

    result = sums / tl.where(total > 0, total, 1.0)[:, None]
    if SPLITS == 1:
        tl.store(output + at, result.to(output.dtype.element_ty), mask=used)
    else:
        part = heads * SPLITS + split
        lse = tl.where(total > 0, peak + tl.log2(tl.where(total > 0, total, 1.0)), float("-inf"))
        tl.store(partial_lse + part, lse, mask=group < GROUP)
        # An empty span has no weight in the merge, but NaN times 0 is NaN: write its zeros.
        tl.store(partial + part[:, None] * HEAD_DIM + dims[None, :], result, mask=used)


@triton.jit
def merge_kernel(
    partial, partial_lse, output, SPLITS: tl.constexpr, HEAD_DIM: tl.constexpr, DIM: tl.constexpr
):  # fmt: skip
    """The weighted mean of the spans of one query head; zeros when all are empty."""
    head, splits, dims = tl.program_id(0), tl.arange(0, SPLITS), tl.arange(0, DIM)
    used = dims < HEAD_DIM
    lse = tl.load(partial_lse + head * SPLITS + splits)
    peak = tl.max(lse, 0)
    weights = tl.exp2(lse - tl.where(peak == float("-inf"), 0.0, peak))
    at = (head * SPLITS + splits)[:, None] * HEAD_DIM + dims[None, :]
    parts = tl.load(partial + at, mask=used[None, :], other=0.0)
    total = tl.sum(weights, 0)
    result = tl.sum(parts * weights[:, None], 0) / tl.where(total > 0, total, 1.0)
    tl.store(output + head * HEAD_DIM + dims, result.to(output.dtype.element_ty), mask=used)


class DecodeAttention:
    """Launches the kernels with scratch that is taken once, for the largest batch.

    All layers and buckets share it: they run one after another.
    """

    def __init__(
        self, spec: ModelSpec, max_rows: int, num_processors: int, device: torch.device
    ) -> None:
        self._spec = spec
        self._num_processors = num_processors
        parts = spec.num_heads * max(
            rows * choose_splits(rows, spec.num_kv_heads, num_processors)
            for rows in range(1, max_rows + 1)
        )
        self._partial = torch.empty((parts, spec.head_dim), dtype=torch.float32, device=device)
        self._lse = torch.empty(parts, dtype=torch.float32, device=device)

    def __call__(
        self, query: Tensor, cache: LayerCache, batch: RowBatch, window: int | None
    ) -> Tensor:
        """See DecodeKernels.attend."""
        rows, spec, table = len(query), self._spec, batch.table
        splits = choose_splits(rows, spec.num_kv_heads, self._num_processors)
        dim = max(16, triton.next_power_of_2(spec.head_dim))  # tl.dot takes no fewer
        output = torch.empty_like(query)
        split_kernel[(rows, spec.num_kv_heads, splits)](
            query, cache.keys, cache.values, table.num_tokens, table.page_table, batch.slots,
            self._partial, self._lse, output,
            spec.head_dim**-0.5 * _LOG2_E, table.word_stride, cache.keys.stride(0),
            KV_HEADS=spec.num_kv_heads, GROUP=spec.group_size,
            GROUP_ROWS=max(16, triton.next_power_of_2(spec.group_size)),
            HEAD_DIM=spec.head_dim, DIM=dim, PAGE_SIZE=cache.keys.shape[2], WINDOW=window or 0,
            SPLITS=splits, BLOCK=BLOCK_TOKENS, MIN_SPLIT=MIN_SPLIT_TOKENS,
            **_split_options(query.dtype),
        )  # fmt: skip
        if splits > 1:
            merge_kernel[(rows * spec.num_heads,)](
                self._partial, self._lse, output, SPLITS=splits, HEAD_DIM=spec.head_dim, DIM=dim,
                num_warps=4,
            )  # fmt: skip
        return output


def choose_splits(rows: int, num_kv_heads: int, num_processors: int) -> int:
    """Spans per row: a power of two that gives every processor about two programs.

    From 32 rows on there is one: the merge costs more than the last wave gains.
    """
    if rows >= 32:
        return 1
    wanted = -(-2 * num_processors // (rows * num_kv_heads))
    power: int = triton.next_power_of_2(wanted)
    return min(MAX_SPLITS, power)


def _split_options(dtype: torch.dtype) -> dict[str, Any]:
    """float32 takes twice the shared memory, and is multiplied exactly rather than as tf32."""
    if dtype == torch.float32:
        return {"PRECISION": "ieee", "num_warps": 4, "num_stages": 2}
    return {"PRECISION": "tf32", "num_warps": 4, "num_stages": 3}
