"""What the weights of a model need and what a device has: checked before anything is loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from workers.engine.errors import CheckpointError
from workers.engine.models.spec import ModelSpec

FreeBytes = Callable[[torch.device], int]
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def weight_bytes(spec: ModelSpec, dtype: torch.dtype) -> int:
    """Bytes of all weights on the device, tied ones once."""
    return num_parameters(spec) * dtype.itemsize


def num_parameters(spec: ModelSpec) -> int:
    """Weights of the checkpoint, tied ones once."""
    hidden, query_size = spec.hidden_size, spec.num_heads * spec.head_dim
    kv_size = spec.num_kv_heads * spec.head_dim
    layer = 2 * hidden + 2 * hidden * query_size + 2 * hidden * kv_size
    layer += 3 * hidden * spec.intermediate_size
    layer += (query_size + 2 * kv_size) * spec.qkv_bias + hidden * spec.output_bias
    layer += 2 * spec.head_dim * spec.qk_norm
    embeddings = (1 if spec.tied_embeddings else 2) * spec.vocab_size * hidden
    return spec.num_layers * layer + embeddings + hidden


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken: of the GPU, or of this machine or container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_machine_bytes(), _container_bytes())


@contextmanager
def enough_memory(
    needed_bytes: int, what: str, device: torch.device, free: FreeBytes = free_bytes
) -> Iterator[None]:
    """Refuse before, or report after, that `what` does not fit; raises CheckpointError."""
    there_bytes = free(device)
    message = (
        f"{what} need {_gib(needed_bytes)} on {device} and {_gib(there_bytes)} are free: "
        "take a smaller model or dtype, or free memory"
    )
    if needed_bytes > there_bytes:
        raise CheckpointError(message)
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise CheckpointError(message) from None
    except RuntimeError as error:
        # What the CPU allocator raises has no class of its own.
        if "allocate memory" not in str(error):
            raise
        raise CheckpointError(message) from None


def _machine_bytes() -> int:
    for line in _MEMINFO.read_text("ascii").splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    raise CheckpointError(f"{_MEMINFO} does not say how much memory is available")


def _container_bytes() -> int:
    """What the control group (version 2) leaves; its file cache can be dropped."""
    try:
        limit = (_CGROUP / "memory.max").read_text("ascii").strip()
        used = int((_CGROUP / "memory.current").read_text("ascii"))
        statistics = (_CGROUP / "memory.stat").read_text("ascii").splitlines()
    except OSError:
        return 1 << 62  # none
    if limit == "max":
        return 1 << 62
    cache = sum(int(line.split()[1]) for line in statistics if line.startswith("inactive_file "))
    return int(limit) - used + cache


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
