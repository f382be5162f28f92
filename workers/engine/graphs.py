"""A decode step captured as one CUDA graph per batch bucket and kind of sampling.

Graphs share one memory pool, which is safe because they never run at the same time and none
reads what another left in it. The largest is captured first, so that the others fit into its
memory.
"""

import gc
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

_WARM_UPS = 2  # the first compiles kernels and takes cuBLAS's workspace, the second checks it


class Graph(Protocol):
    """Captured work."""

    def replay(self) -> None:
        """Enqueue it again, on the same memory."""
        ...


Capture = Callable[[Callable[[], None]], Graph]


class CudaCapture:
    """Captures work on a stream of its own, after running it outside of a graph."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch leaves it so
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Graph:
        """The work as a graph; it has also run, at least once."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                work()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads may use CUDA meanwhile: only this one's calls must be capturable.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        return graph


class GraphRunner:
    """Runs `step(rows, nucleus)` by replay where a bucket is large enough, else eagerly."""

    def __init__(self, step: Callable[[int, bool], None], buckets: Sequence[int]) -> None:
        """`buckets`: the batch sizes to capture, ascending; none runs everything eagerly."""
        self._step = step
        self._buckets = list(buckets)
        self._graphs: dict[tuple[int, bool], Graph] = {}

    def capture(self, capture: Capture) -> None:
        """Capture every bucket. The step's inputs must be all padding."""
        with frozen_gc():
            for bucket in reversed(self._buckets):
                for nucleus in (True, False):
                    self._graphs[bucket, nucleus] = capture(self._work(bucket, nucleus))

    def can_use_cuda_graph(self, rows: int) -> bool:
        """Whether a captured bucket holds that many rows."""
        return bool(self._graphs) and rows <= self._buckets[-1]

    def pad_batch(self, rows: int) -> int:
        """The rows that run for a batch of `rows`: its bucket's, or as many."""
        if not self.can_use_cuda_graph(rows):
            return rows
        return self._buckets[bisect_left(self._buckets, rows)]

    def replay(self, rows: int, *, nucleus: bool) -> None:
        """Run the step for a padded batch."""
        if self.can_use_cuda_graph(rows):
            self._graphs[rows, nucleus].replay()
        else:
            self._step(rows, nucleus)

    def _work(self, bucket: int, nucleus: bool) -> Callable[[], None]:
        return lambda: self._step(bucket, nucleus)


def choose_buckets(max_rows: int) -> list[int]:
    """1, 2, 4, 8, 16, then also the sizes half way between powers of two, to `max_rows`."""
    sizes = [1, 2, 4, 8, 16]
    while sizes[-1] < max_rows:
        power = sizes[-1]
        sizes += [power + power // 2, 2 * power]
    return [size for size in sizes if size < max_rows] + [max_rows]


@contextmanager
def frozen_gc() -> Iterator[None]:
    """No garbage collection within: freeing a graph or an event would break a capture."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
