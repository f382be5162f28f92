"""Rotary position embedding: tables made once, applied to queries and keys together."""

import math

import torch
from torch import Tensor

from workers.engine.models.spec import Llama3Rope, ModelSpec


class RotaryTable:
    """cos and sin of every position, with the sign of the rotation folded into sin."""

    def __init__(
        self, spec: ModelSpec, num_positions: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        exponent = torch.arange(0, spec.head_dim, 2, dtype=torch.float32) / spec.head_dim
        frequencies = 1.0 / spec.rope_theta**exponent
        if spec.rope_scaling is not None:
            frequencies = scale_llama3(frequencies, spec.rope_scaling)
        angles = torch.arange(num_positions, dtype=torch.float32)[:, None] * frequencies
        cos, sin = angles.cos(), angles.sin()
        self._cos = torch.cat((cos, cos), -1).to(device, dtype)  # (positions, head_dim)
        self._sin = torch.cat((-sin, sin), -1).to(device, dtype)
        self._half = spec.head_dim // 2

    @property
    def tables(self) -> tuple[Tensor, Tensor]:
        """cos and sin of all positions, each (positions, head_dim); see `rotate`."""
        return self._cos, self._sin

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of `positions` (tokens,), each (tokens, 1, head_dim)."""
        cos = self._cos.index_select(0, positions)
        return cos[:, None], self._sin.index_select(0, positions)[:, None]

    def rotate(self, heads: Tensor, angles: tuple[Tensor, Tensor], out: Tensor) -> None:
        """Rotate `heads` (tokens, heads, head_dim) into `out`, which may be `heads` itself."""
        cos, sin = angles
        # A roll by half a head swaps its halves.
        torch.addcmul(heads * cos, heads.roll(self._half, -1), sin, out=out)


def scale_llama3(frequencies: Tensor, scaling: Llama3Rope) -> Tensor:
    """Slow the low frequencies down by `factor`, blending in between.

    Source: Llama 3.1, `apply_scaling` in meta-llama/llama-models, models/llama3/model.py.
    """
    wavelength = 2 * math.pi / frequencies
    ratio = scaling.original_max_position / wavelength
    span = scaling.high_freq_factor - scaling.low_freq_factor
    blend = ((ratio - scaling.low_freq_factor) / span).clamp(0.0, 1.0)
    return (1 - blend) * frequencies / scaling.factor + blend * frequencies
