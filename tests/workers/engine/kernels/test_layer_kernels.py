"""Norm, rotation, activation and the skinny matmul against torch, at ragged sizes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.workers.engine.kernels.conftest import DOT_DTYPES, assert_close, poisoned
from tests.workers.engine.kernels.shapes import SMALL
from workers.engine.kernels.interface import LayerCache
from workers.engine.kernels.reference import TorchKernels
from workers.engine.models.rope import RotaryTable

rms_norm = pytest.importorskip("workers.engine.kernels.rms_norm")
rotate_store = pytest.importorskip("workers.engine.kernels.rotate_store")
silu_mul = pytest.importorskip("workers.engine.kernels.silu_mul")
skinny_linear = pytest.importorskip("workers.engine.kernels.skinny_linear")

EPS = 1e-6
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rms_norm(random, dtype):
    hidden, weight = random(3, 100, dtype=dtype), random(100, dtype=dtype, seed=1)

    expected = F.rms_norm(hidden.double(), (100,), weight.double(), EPS)
    assert_close(poisoned(rms_norm.rms_norm, hidden, weight, EPS), expected)


@DTYPES
def test_silu_mul(random, dtype):
    gate_up = random(2, 2 * 1100, dtype=dtype)

    gate, up = gate_up.double().chunk(2, -1)
    assert_close(poisoned(silu_mul.silu_mul, gate_up), F.silu(gate) * up)


@DTYPES
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize(("group", "head_dim"), [(7, 64), (1, 24)])
def test_rotate_store(random, make_batch, make_cache, device, dtype, qk_norm, group, head_dim):
    spec = replace(SMALL, num_heads=2 * group, num_kv_heads=2, head_dim=head_dim)
    rotary = RotaryTable(spec, 64, dtype, device)
    batch = make_batch([1, 16, 17, 40], 16, 10)
    heads = random(4, 2 * group + 4, head_dim, dtype=dtype)
    norms = random(2 * group + 2, head_dim, dtype=dtype, seed=2) if qk_norm else None
    cache = make_cache((10, 2, 16, head_dim), dtype)
    expected_cache = LayerCache(cache.keys.clone(), cache.values.clone())

    query = poisoned(
        rotate_store.rotate_store, heads, norms, rotary.tables, cache, batch, spec.norm_eps
    )

    reference = TorchKernels(spec, rotary, sampler=None)  # type: ignore[arg-type] # not used
    assert_close(query, reference.rotate_store(heads, norms, expected_cache, batch))
    assert_close(cache.keys, expected_cache.keys)
    assert torch.equal(cache.values, expected_cache.values)


def test_padding_stores_in_the_scratch_page(random, make_batch, make_cache, device):
    rotary = RotaryTable(SMALL, 64, torch.float32, device)
    batch = make_batch([0, 3, 0], 16, 4)
    cache = make_cache((4, 2, 16, 32), torch.float32)
    before = cache.keys.clone()
    heads = random(3, 8, 32)

    poisoned(rotate_store.rotate_store, heads, None, rotary.tables, cache, batch, EPS)

    changed = (cache.keys != before).any(-1).any(1).nonzero().tolist()
    page = int(batch.table.page_table[batch.slots[1], 0])
    assert changed == [[0, 0], [page, 2]]


@DOT_DTYPES
@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_skinny_linear(random, dtype, rows):
    inputs, weight = random(rows, 200, dtype=dtype), random(70, 200, dtype=dtype, seed=1)

    assert_close(
        poisoned(skinny_linear.skinny_linear, inputs, weight, 132),
        inputs.double() @ weight.double().T,
    )


@DOT_DTYPES
def test_skinny_linear_adds_bias_and_residual(random, dtype):
    inputs, weight = random(3, 96, dtype=dtype), random(64, 96, dtype=dtype, seed=1)
    bias, residual = random(64, dtype=dtype, seed=2), random(3, 64, dtype=dtype, seed=3)

    actual = poisoned(
        skinny_linear.skinny_linear, inputs, weight, 132, bias=bias, residual=residual
    )

    assert_close(actual, F.linear(inputs.double(), weight.double(), bias.double()) + residual)


@DOT_DTYPES
@pytest.mark.parametrize("gated", [False, True])
def test_skinny_linear_norms_first_and_gates_last(random, dtype, gated):
    inputs, weight = random(3, 130, dtype=dtype) * 3, random(80, 130, dtype=dtype, seed=1)
    norm = random(130, dtype=dtype, seed=2)

    actual = poisoned(
        skinny_linear.skinny_linear, inputs, weight, 2, norm=norm, eps=EPS, gated=gated
    )

    expected = F.rms_norm(inputs.double(), (130,), norm.double(), EPS) @ weight.double().T
    if gated:
        gate, up = expected.chunk(2, -1)
        expected = F.silu(gate) * up
    assert_close(actual, expected)


@pytest.mark.parametrize(("outputs", "block"), [(151936, 64), (4608, 32), (2048, 16), (97, 16)])
def test_the_block_of_columns_leaves_no_processor_idle(outputs, block):
    assert skinny_linear.choose_block_out(outputs, 132) == block
