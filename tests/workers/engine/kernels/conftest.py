"""Triton kernels on the GPU where there is one, else on the CPU by Triton's interpreter, which
tests/conftest.py switches on.

The interpreter shows what a kernel computes, not that it runs on a device: races, alignment and
speed show only there.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from workers.engine.kernels.interface import LayerCache
from workers.engine.row_table import NUM_TOKENS, PAGE_TABLE, RowBatch, RowTable

# The interpreter's tl.dot multiplies the bits of bfloat16 (triton 3.7), not its values.
DOT_DTYPES = pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.gpu)],
)
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Either kind runs where the other cannot: interpreted kernels do not compile."""
    if request.param == "cpu" and torch.cuda.is_available():
        pytest.skip("the kernels are compiled here, not interpreted")
    return torch.device(request.param)


@pytest.fixture
def make_batch(device) -> Callable[..., RowBatch]:
    """Rows of the given lengths in shuffled slots, whose pages are scattered over the cache.

    Padding, of length 0, is the dummy slot. Page 0 is scratch and the last page is nobody's.
    """

    def make(lengths: list[int], page_size: int, num_pages: int) -> RowBatch:
        columns = max(1, -(-max(lengths) // page_size))
        table = RowTable(len(lengths) + 2, columns, torch.device("cpu"))
        order = torch.randperm(num_pages - 2, generator=torch.Generator().manual_seed(4)) + 1
        slots = torch.randperm(len(lengths) + 2, generator=torch.Generator().manual_seed(5))
        slots = slots[: len(lengths)].to(torch.int32)
        taken = 0
        for slot, length in zip(slots.tolist(), lengths, strict=True):
            used = -(-length // page_size)
            table.words[slot, NUM_TOKENS] = length
            # What lies behind the end of a table must not be read: the last page is NaN.
            table.words[slot, PAGE_TABLE:] = num_pages - 1
            table.words[slot, PAGE_TABLE : PAGE_TABLE + used] = order[taken : taken + used]
            taken += used
        slots[torch.tensor(lengths) == 0] = table.dummy_slot
        moved = RowTable(len(lengths) + 2, columns, device)
        moved.words.copy_(table.words)
        return RowBatch(moved, slots.to(device))

    return make


@pytest.fixture
def make_cache(device) -> Callable[..., LayerCache]:
    """Keys and values of random numbers."""

    def make(shape: tuple[int, ...], dtype: torch.dtype) -> LayerCache:
        generator = torch.Generator().manual_seed(6)
        pair = torch.randn((2, *shape), generator=generator).to(device, dtype)
        return LayerCache(pair[0], pair[1])

    return make


@pytest.fixture
def random(device) -> Callable[..., torch.Tensor]:
    """Normal numbers; the same for the same shape and seed."""

    def make(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator).to(device, dtype)

    return make


def poisoned(launch: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call `launch` with fresh tensors full of NaN, so that a place it does not write shows."""
    torch.use_deterministic_algorithms(True)
    try:
        return launch(*args, **options)
    finally:
        torch.use_deterministic_algorithms(False)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Largest error, relative to the largest value, within the rounding of `actual`'s dtype."""
    assert not actual.isnan().any()
    error = (actual.double() - expected.double()).abs().max()
    assert error <= TOLERANCE[actual.dtype] * max(1.0, float(expected.double().abs().max()))
