"""Every kernel compiles for sm_90 with Triton's own ptxas, and none spills. Needs no GPU.

That a kernel compiles says nothing of its speed or its results on the device.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parents[4]
MAX_SHARED_BYTES = 227 * 1024  # per block on sm_90: CUDA programming guide, compute capabilities


@pytest.fixture(scope="module")
def compiled():
    """Resources of every variant; a process of its own, because this one may interpret."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.workers.engine.kernels.cross_compile"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_kernel_is_compiled(compiled):
    assert {kernel["name"] for kernel in compiled["kernels"]} == {
        "split_kernel",
        "merge_kernel",
        "rotate_store_kernel",
        "skinny_linear_kernel",
        "rms_norm_kernel",
        "silu_mul_kernel",
        "block_kernel",
        "draw_kernel",
    }


def test_no_kernel_spills(compiled):
    assert [kernel for kernel in compiled["kernels"] if kernel["stack_bytes"]] == []


def test_a_kernel_with_too_few_registers_would_show(compiled):
    assert any(kernel["stack_bytes"] for kernel in compiled["starved"])


def test_shared_memory_fits(compiled):
    assert max(kernel["shared_bytes"] for kernel in compiled["kernels"]) <= MAX_SHARED_BYTES
