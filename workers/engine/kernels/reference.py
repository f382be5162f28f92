"""The decode operations in torch: what the Triton kernels are tested against.

They also run a decode step on any device without triton. Nothing here waits for the device or
allocates by a value on it, so that a step of them can be captured as well.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.engine.kernels.interface import LayerCache
from workers.engine.models.linear import project
from workers.engine.models.rope import RotaryTable
from workers.engine.models.spec import ModelSpec
from workers.engine.row_table import BAN, NUM_TOKENS, TEMPERATURE, TOP_P, RowBatch
from workers.engine.sampler import Sampled, Sampler, SamplingBatch


class TorchKernels:
    """DecodeKernels with torch."""

    def __init__(self, spec: ModelSpec, rotary: RotaryTable, sampler: Sampler) -> None:
        self._spec = spec
        self._rotary = rotary
        self._sampler = sampler

    def norm_linear(
        self, hidden: Tensor, norm: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """See DecodeKernels."""
        return project(self._norm(hidden, norm), weight, bias)

    def linear_add(
        self, inputs: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor
    ) -> Tensor:
        """See DecodeKernels."""
        return residual + project(inputs, weight, bias)

    def norm_gate_up(self, hidden: Tensor, norm: Tensor, weight: Tensor) -> Tensor:
        """See DecodeKernels."""
        gate, up = project(self._norm(hidden, norm), weight).chunk(2, dim=-1)
        return F.silu(gate) * up

    def rotate_store(
        self, heads: Tensor, qk_norm: Tensor | None, cache: LayerCache, batch: RowBatch
    ) -> Tensor:
        """See DecodeKernels."""
        spec, positions = self._spec, batch.positions
        rotated = heads[:, : spec.num_heads + spec.num_kv_heads]
        if qk_norm is not None:
            rotated = F.rms_norm(rotated, (spec.head_dim,), eps=spec.norm_eps) * qk_norm
        rotated = rotated.clone()
        self._rotary.rotate(rotated, self._rotary.at(positions), out=rotated)
        page_size = cache.keys.shape[2]
        tables = batch.table.page_table.index_select(0, batch.slots)
        pages = tables.gather(1, (positions // page_size)[:, None])[:, 0]
        cache.keys[pages, :, positions % page_size] = rotated[:, spec.num_heads :]
        cache.values[pages, :, positions % page_size] = heads[:, -spec.num_kv_heads :]
        return rotated[:, : spec.num_heads].contiguous()

    def attend(
        self, query: Tensor, cache: LayerCache, batch: RowBatch, window: int | None
    ) -> Tensor:
        """See DecodeKernels."""
        return paged_attention(query, cache, batch, window)

    def sample(self, logits: Tensor, batch: RowBatch, *, nucleus: bool) -> Sampled:
        """See DecodeKernels."""
        parameters = SamplingBatch(
            temperature=batch.float_word(TEMPERATURE),
            top_p=batch.float_word(TOP_P),
            seed=batch.seeds,
            position=batch.positions + 1,
            ban=batch.word(BAN).to(torch.int64),
            greedy=False,
            nucleus=nucleus,
        )
        sampled = self._sampler.sample(logits.float(), parameters)
        batch.advance(sampled.tokens, self._sampler.close_id)
        return sampled._replace(tokens=sampled.tokens.to(torch.int32))

    def _norm(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(hidden, weight.shape, weight, self._spec.norm_eps)


def paged_attention(
    query: Tensor, cache: LayerCache, batch: RowBatch, window: int | None
) -> Tensor:
    """Attention over whole page tables with a mask, in the dtype of `query`."""
    rows, num_heads, head_dim = query.shape
    _, kv_heads, page_size, _ = cache.keys.shape
    num_keys = batch.word(NUM_TOKENS)[:, None]
    tables = batch.table.page_table.index_select(0, batch.slots)
    positions = torch.arange(tables.shape[1] * page_size, device=query.device)[None]
    seen = positions < num_keys
    if window is not None:
        seen &= positions >= num_keys - window
    keys, values = (
        pages.to(query.dtype)[tables].transpose(1, 2).reshape(rows, kv_heads, -1, head_dim)
        for pages in (cache.keys, cache.values)
    )
    grouped = query.view(rows, kv_heads, -1, head_dim)
    scores = grouped @ keys.transpose(-1, -2) * head_dim**-0.5
    scores = scores.masked_fill(~seen[:, None, None], float("-inf"))
    weights: Tensor = scores.softmax(-1).nan_to_num(0.0)  # rows without keys
    # Unseen places may hold anything, and NaN times 0 is NaN.
    values = values.masked_fill(~seen[:, None, :, None], 0.0)
    return torch.matmul(weights, values).view(rows, num_heads, head_dim)
