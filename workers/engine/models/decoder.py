"""One decoder for Llama, Qwen2 and Qwen3, driven by a ModelSpec. Eager, on CPU and CUDA.

It works on rectangles of tokens (rows, queries): one query per row in decode, a chunk per row
in prefill, with padding whose keys go to the scratch page.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from workers.engine.kv_cache import KeyView, PagedKvCache
from workers.engine.models.dense_keys import DenseKeys
from workers.engine.models.linear import add_projection, project
from workers.engine.models.norm import RmsNorm
from workers.engine.models.rope import RotaryTable
from workers.engine.models.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer; projections that share their input are fused, and all are as `lay_out` gives."""

    input_norm: Tensor
    qkv: Tensor  # ((heads + 2 * kv_heads) * head_dim, hidden)
    qkv_bias: Tensor | None
    qk_norm: Tensor | None  # (heads + kv_heads, head_dim)
    output: Tensor
    output_bias: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor  # (2 * intermediate, hidden)
    down: Tensor


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """A whole checkpoint; `head` equals `embedding` when they are tied."""

    embedding: Tensor
    layers: list[LayerWeights]
    norm: Tensor
    head: Tensor


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """A rectangle of tokens and its place in the cache; `views` by window."""

    ids: Tensor  # (rows, queries) int64
    positions: Tensor  # (rows * queries,) int64
    write_rows: Tensor  # (rows * queries * 2 * kv_heads,) int64
    views: Mapping[int | None, KeyView]


class Decoder:
    """Token ids to hidden states, and hidden states to logits."""

    def __init__(
        self, spec: ModelSpec, weights: DecoderWeights, rotary: RotaryTable, cache: PagedKvCache
    ) -> None:
        self.spec = spec
        self.weights = weights
        self.rotary = rotary
        self._cache = cache
        self._keys = DenseKeys(spec, cache)
        self._norm = RmsNorm(spec.norm_eps, weights.norm.device)

    def forward(self, batch: TokenBatch) -> Tensor:
        """Compute the batch, extend the cache; returns normed states (rows, queries, hidden)."""
        rows, queries = batch.ids.shape
        hidden = F.embedding(batch.ids.flatten(), self.weights.embedding)
        angles = self.rotary.at(batch.positions)
        self._keys.begin(batch.views, batch.write_rows, rows, queries)
        for index, layer in enumerate(self.weights.layers):
            heads = self._project(layer, hidden, angles)
            attended = self._attend(index, heads, batch)
            add_projection(hidden, attended, layer.output)
            if layer.output_bias is not None:
                hidden += layer.output_bias
            add_projection(hidden, self._mlp(layer, hidden), layer.down)
        return self._norm(hidden, self.weights.norm).view(rows, queries, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (rows, vocabulary) in float32 of normed states (rows, hidden)."""
        return project(hidden, self.weights.head).float()

    def _project(
        self, layer: LayerWeights, hidden: Tensor, angles: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Queries, keys and values (tokens, heads + 2 * kv_heads, head_dim), rotated."""
        spec = self.spec
        projected = project(self._norm(hidden, layer.input_norm), layer.qkv, layer.qkv_bias)
        heads = projected.view(len(hidden), -1, spec.head_dim)
        num_rotated = spec.num_heads + spec.num_kv_heads
        rotated = heads[:, :num_rotated]
        if layer.qk_norm is not None:
            rotated = self._norm(rotated, layer.qk_norm)
        self.rotary.rotate(rotated, angles, out=heads[:, :num_rotated])
        return heads

    def _attend(self, index: int, heads: Tensor, batch: TokenBatch) -> Tensor:
        """Store keys and values, then attend over the cache; (tokens, heads * head_dim)."""
        spec, (rows, queries) = self.spec, batch.ids.shape
        view = batch.views[spec.windows[index]]
        self._cache.store(index, batch.write_rows, heads[:, spec.num_heads :])
        keys, values = self._keys.of(index, view, heads[:, spec.num_heads :])
        # The query heads that share a key head become more queries of that head.
        shape = (rows, queries, spec.num_kv_heads, spec.group_size, spec.head_dim)
        query = heads[:, : spec.num_heads].reshape(shape).permute(0, 2, 3, 1, 4)
        query = query.reshape(rows, spec.num_kv_heads, -1, spec.head_dim)
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=view.bias)
        attended = attended.view(rows, spec.num_kv_heads, spec.group_size, queries, -1)
        return attended.permute(0, 3, 1, 2, 4).reshape(rows * queries, -1)

    def _mlp(self, layer: LayerWeights, hidden: Tensor) -> Tensor:
        """The inner activations (tokens, intermediate), before the projection down."""
        gate_up = project(self._norm(hidden, layer.mlp_norm), layer.gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)
