"""Launches decode steps on device-resident rows and brings their tokens back.

One packet of a fixed layout goes to the device per launch, int32:

    [ slot of each row: max_rows | word indices: UPDATE_CAPACITY | words: likewise ]

The step (apply the packet, decode, sample, advance) reads it from a static place, so it can be
captured. Unused entries are the dummy slot and a word of it that nobody reads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.engine.graphs import Capture, GraphRunner
from workers.engine.models.row_decoder import RowDecoder
from workers.engine.plan import SampledRows
from workers.engine.row_mirror import Ints, Updates
from workers.engine.row_table import UNUSED, RowBatch, RowTable
from workers.engine.streams import Fence, HostRing, Stream

UPDATE_CAPACITY = 512  # words per packet; more take more packets, which only new rows need
_RING_DEPTH = 8  # the results of a step are read before four more launches
_NO_ROWS: Ints = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Flight:
    """Tokens on their way to the host."""

    results: Tensor  # (3, rows) int32 on the host: the columns of Sampled, floats as bits
    arrived: Fence

    def fetch(self) -> SampledRows:
        """Wait for them, and copy them out of the ring."""
        self.arrived.wait()
        results = self.results.numpy()
        logprobs, entropies = results[1:].view(np.float32).copy()
        return SampledRows(results[0].astype(np.int64), logprobs, entropies)


class RowRunner:
    """Owns the table of rows and the static tensors of the step."""

    def __init__(
        self, decoder: RowDecoder, table: RowTable, stream: Stream, buckets: list[int]
    ) -> None:
        self.table = table
        self._decoder = decoder
        self._stream = stream
        self._max_rows = table.dummy_slot
        assert all(bucket <= self._max_rows for bucket in buckets), "a bucket without slots"
        device, size = table.words.device, self._max_rows + 2 * UPDATE_CAPACITY
        self._packet = torch.empty(size, dtype=torch.int32, device=device)
        self._output = torch.empty((3, self._max_rows), dtype=torch.int32, device=device)
        self._packets = HostRing(stream, _RING_DEPTH, size)
        self._results = HostRing(stream, _RING_DEPTH, 3, self._max_rows)
        self.graphs = GraphRunner(self.step, buckets)
        self._unused_word = table.dummy_slot * table.word_stride + UNUSED

    def capture(self, capture: Capture) -> None:
        """Capture the step for every bucket, on padding."""
        self._send(_NO_ROWS, (_NO_ROWS, _NO_ROWS))
        self._stream.fence().wait()
        self.graphs.capture(capture)

    def launch(self, slots: Ints, updates: Updates, *, nucleus: bool) -> Flight:
        """Enqueue `updates` and a decode step of `slots`, (rows,)."""
        padded = self.graphs.pad_batch(len(slots))
        return self._launch(slots, updates, lambda: self.graphs.replay(padded, nucleus=nucleus))

    def sample(
        self, compute_logits: Callable[[], Tensor], slots: Ints, updates: Updates, *, nucleus: bool
    ) -> Flight:
        """Enqueue `updates`, logits from elsewhere, the ends of prefills, and their sampling."""
        rows = len(slots)
        return self._launch(slots, updates, lambda: self._sample(compute_logits, rows, nucleus))

    @torch.inference_mode()
    def step(self, rows: int, nucleus: bool) -> None:
        """The device's part of a launch; no value of it passes through the host."""
        self._apply()
        batch = RowBatch(self.table, self._packet[:rows])
        self._emit(self._decoder.logits(batch), batch, nucleus)

    @torch.inference_mode()
    def _sample(self, compute_logits: Callable[[], Tensor], rows: int, nucleus: bool) -> None:
        self._apply()
        self._emit(compute_logits(), RowBatch(self.table, self._packet[:rows]), nucleus)

    def _emit(self, logits: Tensor, batch: RowBatch, nucleus: bool) -> None:
        sampled = self._decoder.kernels.sample(logits, batch, nucleus=nucleus)
        rows = len(sampled.tokens)
        self._output[0, :rows] = sampled.tokens
        self._output[1, :rows] = sampled.logprobs.view(torch.int32)
        self._output[2, :rows] = sampled.entropies.view(torch.int32)

    def _launch(self, slots: Ints, updates: Updates, work: Callable[[], None]) -> Flight:
        indices, words = updates
        # A long prompt has more pages than a packet holds; the last packet goes with the work.
        num_early = max(0, -(-len(indices) // UPDATE_CAPACITY) - 1) * UPDATE_CAPACITY
        for start in range(0, num_early, UPDATE_CAPACITY):
            part = slice(start, start + UPDATE_CAPACITY)
            self._send(_NO_ROWS, (indices[part], words[part]))
            self._stream.enqueue(self._apply)
        self._send(slots, (indices[num_early:], words[num_early:]))
        self._stream.enqueue(work)
        return self._bring(len(slots))

    def _send(self, slots: Ints, updates: Updates) -> None:
        """Enqueue the copy of one packet to its static place."""
        buffer = self._packets.take()
        packet, count = buffer.numpy(), len(updates[0])
        rows, indices = packet[: self._max_rows], packet[self._max_rows :]
        rows.fill(self.table.dummy_slot)
        rows[: len(slots)] = slots
        indices[:UPDATE_CAPACITY].fill(self._unused_word)
        indices[:count] = updates[0]
        indices[UPDATE_CAPACITY:].fill(0)
        indices[UPDATE_CAPACITY : UPDATE_CAPACITY + count] = updates[1]
        self._stream.enqueue(lambda: _copy(self._packet, buffer))
        self._packets.seal()

    def _apply(self) -> None:
        indices, words = self._packet[self._max_rows :].view(2, -1)
        self.table.words.view(-1).index_copy_(0, indices.to(torch.int64), words)

    def _bring(self, rows: int) -> Flight:
        buffer = self._results.take()
        self._stream.enqueue(lambda: _copy(buffer, self._output))
        return Flight(buffer[:, :rows], self._results.seal())


def _copy(target: Tensor, source: Tensor) -> None:
    target.copy_(source, non_blocking=True)
