"""The order of work on a device, and the host memory that it copies from and to.

Work of one stream runs in the order in which it was enqueued; a fence is passed when all that
was enqueued before it has run.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Fence(Protocol):
    """A point in a stream."""

    def wait(self) -> None:
        """Return when the stream has passed."""
        ...


class Stream(Protocol):
    """One in-order queue of work."""

    def enqueue(self, work: Callable[[], None]) -> None:
        """Run `work` after everything that was enqueued before. It must not read host memory
        that may change meanwhile, except through a copy from a `host_buffer`.
        """
        ...

    def fence(self) -> Fence:
        """A fence behind everything that was enqueued."""
        ...

    def host_buffer(self, *shape: int) -> Tensor:
        """int32 memory of the host that the device copies from and to without waiting."""
        ...


class CudaStream:
    """The current CUDA stream, which is in order by itself."""

    def enqueue(self, work: Callable[[], None]) -> None:
        """See Stream."""
        work()

    def fence(self) -> Fence:
        """See Stream."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch leaves it untyped
        event.record()
        return _Recorded(event)

    def host_buffer(self, *shape: int) -> Tensor:
        """See Stream."""
        return torch.empty(shape, dtype=torch.int32, pin_memory=True)


class HostRing:
    """Host buffers used in turn; one is handed out again only when its fence was passed."""

    def __init__(self, stream: Stream, depth: int, *shape: int) -> None:
        self._stream = stream
        self._buffers = [stream.host_buffer(*shape) for _ in range(depth)]
        self._fences: list[Fence | None] = [None] * depth
        self._next = 0

    def take(self) -> Tensor:
        """The next buffer; the caller calls `seal` when the work that uses it is enqueued."""
        fence = self._fences[self._next]
        if fence is not None:
            fence.wait()
        return self._buffers[self._next]

    def seal(self) -> Fence:
        """Keep the buffer until everything enqueued so far has run."""
        fence = self._fences[self._next] = self._stream.fence()
        self._next = (self._next + 1) % len(self._buffers)
        return fence


class _Recorded:
    def __init__(self, event: torch.cuda.Event) -> None:
        self._event = event

    def wait(self) -> None:
        self._event.synchronize()
