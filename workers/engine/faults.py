"""What an exception out of a step means."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from workers.engine.errors import OutOfMemory

# torch raises a plain RuntimeError when the CPU's allocator gives up.
_CPU_ALLOCATOR = "can't allocate memory"


def is_out_of_memory(error: Exception) -> bool:
    """Whether the step failed because memory did not suffice, on the device or the host."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)


def memory_needed(error: Exception) -> str:
    """What the allocator said it was asked for and what there was, in one line."""
    said = " ".join(str(error).split())
    # What follows is advice about the allocator's settings, and a stack.
    return said.split(" If reserved but unallocated")[0].split(" Exception raised from")[0]


@contextmanager
def said_plainly(what: str) -> Iterator[None]:
    """Turns what an allocator raises into OutOfMemory."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory for {what}: {memory_needed(error)}") from error
