"""A stream that runs nothing before it must: as late as a device may, deterministically.

Work that reads host memory which has changed meanwhile, or a page that somebody else has
written since, computes something else here than on the CPU's stream.
"""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor


class DeferredStream:
    """Work waits until a fence behind it is waited for."""

    def __init__(self) -> None:
        self._queue: deque[Callable[[], None]] = deque()
        self._num_enqueued = 0

    @property
    def num_waiting(self) -> int:
        return len(self._queue)

    def enqueue(self, work: Callable[[], None]) -> None:
        self._queue.append(work)
        self._num_enqueued += 1

    def fence(self) -> "DeferredFence":
        return DeferredFence(self, self._num_enqueued)

    def host_buffer(self, *shape: int) -> Tensor:
        return torch.full(shape, -7, dtype=torch.int32)

    def run_to(self, count: int) -> None:
        """Run all but what was enqueued after the first `count`."""
        while self._num_enqueued - len(self._queue) < count:
            self._queue.popleft()()


class DeferredFence:
    def __init__(self, stream: DeferredStream, position: int) -> None:
        self._stream = stream
        self._position = position

    def wait(self) -> None:
        self._stream.run_to(self._position)
