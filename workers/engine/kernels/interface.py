"""The operations of a decode step, one token per row; implemented by `reference` and `fused`."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from workers.engine.row_table import RowBatch
from workers.engine.sampler import Sampled


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Keys and values of one layer, each (pages, kv_heads, page_size, head_dim)."""

    keys: Tensor
    values: Tensor


class DecodeKernels(Protocol):
    """Rows are the rows of a decode batch. Sums are in float32, results in the model's dtype.

    `norm` is the weight of an RMS norm that is applied to `hidden` (rows, hidden) first.
    """

    def norm_linear(
        self, hidden: Tensor, norm: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """norm(hidden) @ weight^T + bias, (rows, outputs)."""
        ...

    def linear_add(
        self, inputs: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor
    ) -> Tensor:
        """inputs @ weight^T + bias + residual, (rows, outputs)."""
        ...

    def norm_gate_up(self, hidden: Tensor, norm: Tensor, weight: Tensor) -> Tensor:
        """silu(gate) * up, (rows, intermediate), of norm(hidden); `weight` is gate, then up."""
        ...

    def rotate_store(
        self, heads: Tensor, qk_norm: Tensor | None, cache: LayerCache, batch: RowBatch
    ) -> Tensor:
        """Norm and rotate queries and keys, store keys and values; the queries.

        `heads`: (rows, heads + 2 * kv_heads, head_dim); returned: (rows, heads, head_dim).
        """
        ...

    def attend(
        self, query: Tensor, cache: LayerCache, batch: RowBatch, window: int | None
    ) -> Tensor:
        """Attention of `query` (rows, heads, head_dim) over the rows' keys; zeros without any."""
        ...

    def sample(self, logits: Tensor, batch: RowBatch, *, nucleus: bool) -> Sampled:
        """Choose tokens, int32, and advance the rows.

        The rule is that of sampler.py. Without `nucleus` every top_p is taken as 1.
        """
        ...
