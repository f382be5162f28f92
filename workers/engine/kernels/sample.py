"""The draw of sampler.py in two kernels, which also advance the rows.

The first leaves per block of the vocabulary its largest logit, two sums of exponentials, at
temperature 1 and at the row's, and the sum that the entropy needs; the second finds the block in
which the cumulative distribution reaches the row's uniform number, and in it the token.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from workers.engine.row_table import (
    BAN,
    LAST_TOKEN,
    NUM_TOKENS,
    SEED_HIGH,
    SEED_LOW,
    TEMPERATURE,
    RowBatch,
)
from workers.engine.sampler import GREEDY_BELOW, Sampled

_BLOCK = 2048
_BAN, _LAST_TOKEN = tl.constexpr(BAN), tl.constexpr(LAST_TOKEN)
_NUM_TOKENS = tl.constexpr(NUM_TOKENS)
_SEED_LOW, _SEED_HIGH = tl.constexpr(SEED_LOW), tl.constexpr(SEED_HIGH)
_TEMPERATURE = tl.constexpr(TEMPERATURE)
_GREEDY_BELOW = tl.constexpr(GREEDY_BELOW)


@triton.jit
def _mix(state):
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB
    return state ^ (state >> 31)


@triton.jit
def _uniform(word):
    """sampler.uniform of the row's seed at the position that follows its input."""
    low = tl.load(word + _SEED_LOW).to(tl.uint32, bitcast=True).to(tl.uint64)
    high = tl.load(word + _SEED_HIGH).to(tl.uint32, bitcast=True).to(tl.uint64)
    position = tl.load(word + _NUM_TOKENS).to(tl.uint64)
    state = _mix(low | (high << 32)) + (position + 1) * 0x9E3779B97F4A7C15
    bits = (_mix(state) >> 41).to(tl.int32)
    return (bits.to(tl.float32) + 0.5) * (1.0 / 8388608.0)


@triton.jit
def _load_logits(
    logits, row, ids, banned, ban, VOCABULARY: tl.constexpr, NUM_BANNED: tl.constexpr
):  # fmt: skip
    """Logits of `ids`, -inf where banned or outside."""
    at = row.to(tl.int64) * VOCABULARY + ids
    found = tl.load(logits + at, mask=ids < VOCABULARY, other=float("-inf")).to(tl.float32)
    for index in tl.static_range(NUM_BANNED):
        found = tl.where(ids == tl.load(banned + ban * NUM_BANNED + index), float("-inf"), found)
    return found


@triton.jit
def _heat(logits, peak, floor, temperature):
    """Unnormalised probabilities at the row's temperature, 0 below `floor`."""
    scaled = tl.exp((logits - peak) / temperature)
    return tl.where((logits >= floor) & (logits > float("-inf")), scaled, 0.0)


@triton.jit
def block_kernel(
    logits, words, slots, floors, banned, peaks, best, sums, heated, weighted,
    word_stride, num_blocks,
    VOCABULARY: tl.constexpr, NUM_BANNED: tl.constexpr, FLOORED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The statistics of one block of one row; `weighted` sums exp(x) * x, x below the peak."""
    row, block = tl.program_id(0), tl.program_id(1)
    word = words + tl.load(slots + row).to(tl.int64) * word_stride
    ids = block * BLOCK + tl.arange(0, BLOCK)
    found = _load_logits(logits, row, ids, banned, tl.load(word + _BAN), VOCABULARY, NUM_BANNED)
    peak = tl.max(found, 0)
    anchor = tl.where(peak == float("-inf"), 0.0, peak)
    temperature = tl.load(word + _TEMPERATURE).to(tl.float32, bitcast=True)
    temperature = tl.where(temperature < _GREEDY_BELOW, 1.0, temperature)
    floor = tl.load(floors + row) if FLOORED else float("-inf")
    at = row * num_blocks + block
    tl.store(peaks + at, peak)
    tl.store(best + at, block * BLOCK + tl.argmax(found, 0))
    scale = tl.exp(found - anchor)
    tl.store(sums + at, tl.sum(scale, 0))
    drop = tl.where(found > float("-inf"), found - anchor, 0.0)  # 0 times -inf is NaN
    tl.store(weighted + at, tl.sum(scale * drop, 0))
    tl.store(heated + at, tl.sum(_heat(found, anchor, floor, temperature), 0))


@triton.jit
def draw_kernel(
    logits, words, slots, floors, banned, peaks, best, sums, heated, weighted,
    tokens, logprobs, entropies, word_stride, num_blocks, dummy_slot, close_id,
    VOCABULARY: tl.constexpr, NUM_BANNED: tl.constexpr, FLOORED: tl.constexpr,
    BLOCK: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """The token of one row, and the row's next state."""
    row, blocks = tl.program_id(0), tl.arange(0, BLOCKS)
    slot = tl.load(slots + row)
    word = words + slot.to(tl.int64) * word_stride
    ban = tl.load(word + _BAN)
    is_block = blocks < num_blocks
    at = row * num_blocks + blocks
    block_peaks = tl.load(peaks + at, mask=is_block, other=float("-inf"))
    peak = tl.max(block_peaks, 0)
    block_sums = tl.load(sums + at, mask=is_block, other=0.0)
    scale = tl.exp(block_peaks - peak)
    total = tl.sum(block_sums * scale, 0)
    drop = tl.where(block_peaks > float("-inf"), block_peaks - peak, 0.0)
    block_weighted = tl.load(weighted + at, mask=is_block, other=0.0) + block_sums * drop
    entropy = tl.log(total) - tl.sum(block_weighted * scale, 0) / total
    token = tl.load(best + row * num_blocks + tl.argmax(block_peaks, 0)).to(tl.int32)

    temperature = tl.load(word + _TEMPERATURE).to(tl.float32, bitcast=True)
    if temperature >= _GREEDY_BELOW:
        weights = tl.load(heated + at, mask=is_block, other=0.0)
        weights *= tl.exp((block_peaks - peak) / temperature)
        cumulative = tl.cumsum(weights, 0)
        target = _uniform(word) * tl.max(cumulative, 0)
        reaches = (cumulative >= target) & (weights > 0)
        block = tl.min(tl.where(reaches, blocks, BLOCKS), 0)
        base = tl.max(tl.where((cumulative < target) & (blocks < block), cumulative, 0.0), 0)
        ids = block * BLOCK + tl.arange(0, BLOCK)
        found = _load_logits(logits, row, ids, banned, ban, VOCABULARY, NUM_BANNED)
        floor = tl.load(floors + row) if FLOORED else float("-inf")
        probs = _heat(found, peak, floor, temperature)
        within = base + tl.cumsum(probs, 0)
        first = tl.min(tl.where((within >= target) & (probs > 0), ids, VOCABULARY), 0)
        # Rounding may leave the block's end just short of the target: then its last token.
        last = tl.max(tl.where(probs > 0, ids, -1), 0)
        drawn = tl.where(first < VOCABULARY, first, last)
        token = tl.where(drawn >= 0, drawn, token)

    chosen = tl.load(logits + row.to(tl.int64) * VOCABULARY + token).to(tl.float32)
    tl.store(tokens + row, token)
    tl.store(logprobs + row, chosen - peak - tl.log(total))
    tl.store(entropies + row, entropy)
    # Every thread has read the row by now; one of them changes it.
    tl.debug_barrier()
    if slot != dummy_slot:
        tl.store(word + _LAST_TOKEN, token)
        tl.store(word + _NUM_TOKENS, tl.load(word + _NUM_TOKENS) + 1)
        # row_table.next_ban
        tl.store(word + _BAN, tl.where(ban == 0, (token == close_id).to(tl.int32), 2))


def sample(
    logits: Tensor, batch: RowBatch, banned: Tensor, floors: Tensor | None, close_id: int
) -> Sampled:
    """See DecodeKernels.sample; no token is drawn whose logit is below its row's floor.

    `logits` (rows, vocabulary), contiguous; `banned` (sets, ids) int32, padded with -1.
    """
    rows, vocabulary = logits.shape
    table, num_blocks = batch.table, triton.cdiv(vocabulary, _BLOCK)
    statistics = logits.new_empty((4, rows, num_blocks), dtype=torch.float32)
    peaks, sums, heated, weighted = statistics.unbind()
    best = logits.new_empty((rows, num_blocks), dtype=torch.int32)
    tokens = logits.new_empty(rows, dtype=torch.int32)
    logprobs, entropies = logits.new_empty((2, rows), dtype=torch.float32).unbind()
    common = (logits, table.words, batch.slots, logits if floors is None else floors, banned)
    shape = {
        "VOCABULARY": vocabulary,
        "NUM_BANNED": banned.shape[1],
        "FLOORED": floors is not None,
        "BLOCK": _BLOCK,
    }
    block_kernel[(rows, num_blocks)](
        *common, peaks, best, sums, heated, weighted,
        table.word_stride, num_blocks, **shape, num_warps=4,
    )  # fmt: skip
    draw_kernel[(rows,)](
        *common, peaks, best, sums, heated, weighted, tokens, logprobs, entropies,
        table.word_stride, num_blocks, table.dummy_slot, close_id,
        **shape, BLOCKS=triton.next_power_of_2(num_blocks), num_warps=8,
    )  # fmt: skip
    return Sampled(tokens, logprobs, entropies)
