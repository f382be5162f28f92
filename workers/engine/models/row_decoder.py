"""One decode step of a Llama, Qwen2 or Qwen3, one token per row, on device-resident rows.

It computes what Decoder does for a rectangle of one query per row, with fused operations, and
reads ids, positions and page tables on the device: nothing in it depends on the host.
"""

import torch.nn.functional as F
from torch import Tensor

from workers.engine.kernels.interface import DecodeKernels
from workers.engine.kv_cache import PagedKvCache
from workers.engine.models.decoder import DecoderWeights, LayerWeights
from workers.engine.models.spec import ModelSpec
from workers.engine.row_table import LAST_TOKEN, RowBatch


class RowDecoder:
    """The rows' last tokens to logits."""

    def __init__(
        self, spec: ModelSpec, weights: DecoderWeights, cache: PagedKvCache, kernels: DecodeKernels
    ) -> None:
        self.kernels = kernels
        self._spec = spec
        self._weights = weights
        self._caches = [cache.layer(index) for index in range(spec.num_layers)]

    def logits(self, batch: RowBatch) -> Tensor:
        """Extend the cache by the rows' last tokens; logits (rows, vocabulary) of the next."""
        weights, kernels = self._weights, self.kernels
        hidden = F.embedding(batch.word(LAST_TOKEN), weights.embedding)
        for index, layer in enumerate(weights.layers):
            attended = self._attend(index, layer, hidden, batch)
            hidden = kernels.linear_add(attended, layer.output, layer.output_bias, hidden)
            activated = kernels.norm_gate_up(hidden, layer.mlp_norm, layer.gate_up)
            hidden = kernels.linear_add(activated, layer.down, None, hidden)
        return kernels.norm_linear(hidden, weights.norm, weights.head, None)

    def _attend(self, index: int, layer: LayerWeights, hidden: Tensor, batch: RowBatch) -> Tensor:
        kernels, cache, rows = self.kernels, self._caches[index], len(hidden)
        projected = kernels.norm_linear(hidden, layer.input_norm, layer.qkv, layer.qkv_bias)
        heads = projected.view(rows, -1, self._spec.head_dim)
        query = kernels.rotate_store(heads, layer.qk_norm, cache, batch)
        return kernels.attend(query, cache, batch, self._spec.windows[index]).view(rows, -1)
