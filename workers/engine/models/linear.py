"""Projections, and how their weights lie in memory.

On CPU a large weight lies in blocks of outputs, (blocks, inputs, outputs of a block): a small batch
then reads memory in order, where lines that hold all outputs of one input are far apart.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK_OUTPUTS = 256
_MIN_OUTPUTS = 1024  # fewer are read as fast without blocks


def lay_out(weight: Tensor) -> Tensor:
    """A weight (outputs, inputs) as `project` reads it fastest: in blocks if that pays.

    A small one lies in memory by input: small batches multiply twice as fast so.
    """
    outputs, inputs = weight.shape
    if not weight.is_cpu:
        return weight
    if outputs < _MIN_OUTPUTS or outputs % _BLOCK_OUTPUTS:
        return weight.t().contiguous().t()
    return weight.view(-1, _BLOCK_OUTPUTS, inputs).transpose(1, 2).contiguous()


def project(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """inputs @ weight^T + bias, (tokens, outputs), of a weight as `lay_out` gives it."""
    if weight.dim() == 2:
        return F.linear(inputs, weight, bias)
    blocks, _, width = weight.shape
    outputs = inputs.new_empty(len(inputs), blocks, width)
    torch.bmm(inputs.expand(blocks, -1, -1), weight, out=outputs.transpose(0, 1))
    projected = outputs.view(len(inputs), blocks * width)  # no tokens have no -1
    return projected if bias is None else projected.add_(bias)


def add_projection(hidden: Tensor, inputs: Tensor, weight: Tensor) -> None:
    """Add inputs @ weight^T to `hidden` (tokens, outputs), in place."""
    if weight.dim() == 2:
        hidden.addmm_(inputs, weight.t())
        return
    blocks, _, width = weight.shape
    by_block = hidden.view(-1, blocks, width).transpose(0, 1)
    by_block.baddbmm_(inputs.expand(blocks, -1, -1), weight)
