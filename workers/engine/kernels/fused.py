"""The decode operations by Triton kernels, and by cuBLAS where it is better: from 17 rows on."""

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.engine.kernels.decode_attention import DecodeAttention
from workers.engine.kernels.interface import LayerCache
from workers.engine.kernels.rms_norm import rms_norm
from workers.engine.kernels.rotate_store import rotate_store
from workers.engine.kernels.sample import sample
from workers.engine.kernels.silu_mul import silu_mul
from workers.engine.kernels.skinny_linear import MAX_ROWS, skinny_linear
from workers.engine.models.rope import RotaryTable
from workers.engine.models.spec import ModelSpec
from workers.engine.row_table import BAN, TEMPERATURE, TOP_P, RowBatch
from workers.engine.sampler import Sampled, Sampler


class FusedKernels:
    """DecodeKernels for CUDA, or for the CPU where TRITON_INTERPRET is set.

    `num_processors`: streaming multiprocessors of the device; launches are shaped by it.
    """

    def __init__(
        self,
        spec: ModelSpec,
        rotary: RotaryTable,
        sampler: Sampler,
        attention: DecodeAttention,
        num_processors: int,
    ) -> None:
        self._spec = spec
        self._rotary = rotary
        self._sampler = sampler
        self._attention = attention
        self._num_processors = num_processors

    def norm_linear(
        self, hidden: Tensor, norm: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """See DecodeKernels."""
        eps = self._spec.norm_eps
        if len(hidden) > MAX_ROWS:
            return F.linear(rms_norm(hidden, norm, eps), weight, bias)
        return skinny_linear(hidden, weight, self._num_processors, norm=norm, eps=eps, bias=bias)

    def linear_add(
        self, inputs: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor
    ) -> Tensor:
        """See DecodeKernels."""
        if len(inputs) > MAX_ROWS:
            base = residual if bias is None else residual + bias
            return torch.addmm(base, inputs, weight.t())
        return skinny_linear(inputs, weight, self._num_processors, bias=bias, residual=residual)

    def norm_gate_up(self, hidden: Tensor, norm: Tensor, weight: Tensor) -> Tensor:
        """See DecodeKernels."""
        eps = self._spec.norm_eps
        if len(hidden) > MAX_ROWS:
            return silu_mul(F.linear(rms_norm(hidden, norm, eps), weight))
        return skinny_linear(hidden, weight, self._num_processors, norm=norm, eps=eps, gated=True)

    def rotate_store(
        self, heads: Tensor, qk_norm: Tensor | None, cache: LayerCache, batch: RowBatch
    ) -> Tensor:
        """See DecodeKernels."""
        return rotate_store(heads, qk_norm, self._rotary.tables, cache, batch, self._spec.norm_eps)

    def attend(
        self, query: Tensor, cache: LayerCache, batch: RowBatch, window: int | None
    ) -> Tensor:
        """See DecodeKernels."""
        return self._attention(query, cache, batch, window)

    def sample(self, logits: Tensor, batch: RowBatch, *, nucleus: bool) -> Sampled:
        """See DecodeKernels. The nucleus is found by torch's sort, the rest in two kernels."""
        floors = None
        if nucleus:
            floors = self._sampler.nucleus_floors(
                logits, batch.word(BAN), batch.float_word(TEMPERATURE), batch.float_word(TOP_P)
            )
        return sample(logits, batch, self._sampler.banned_ids, floors, self._sampler.close_id)
