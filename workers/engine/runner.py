"""Turns a StepPlan into tensors, runs the decoder and samples. The only user of the device.

Decode runs as one rectangle of one query per row; prefill chunks run as rectangles of chunks
of similar length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.engine.blocks import SCRATCH_PAGE
from workers.engine.kv_cache import KeyView, PagedKvCache
from workers.engine.models.decoder import Decoder, TokenBatch
from workers.engine.plan import Chunk, SampledRows, StepPlan
from workers.engine.sampler import Sampler, SamplingBatch
from workers.engine.slots import SlotTable

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Token ids (rows, queries) of `slots`, from `starts` on; row i has `lengths[i]` tokens."""

    slots: Ints
    ids: Ints
    starts: Ints
    lengths: Ints


@dataclass(frozen=True, slots=True)
class PreparedRectangle:
    """A rectangle on the device, and which of its rows * queries states are wanted."""

    batch: TokenBatch
    wanted: Tensor


class ModelRunner:
    """Runs steps on one device, each when it is asked for."""

    runs_ahead = False

    def __init__(
        self,
        decoder: Decoder,
        cache: PagedKvCache,
        sampler: Sampler,
        slots: SlotTable,
        device: torch.device,
    ) -> None:
        self.decoder = decoder
        self.cache = cache
        self.sampler = sampler
        self.slots = slots
        self._device = device

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> SampledRows:
        """Compute a step."""
        logits = self.logits([self.prepare(*part) for part in self._pack(plan)])
        if not plan.sampled:
            return SampledRows.empty(0)
        sampled = self.sampler.sample(logits, self._sampling(plan))
        return SampledRows(*(column.cpu().numpy() for column in sampled))

    @torch.inference_mode()
    def forward(self, rectangle: Rectangle) -> Tensor:
        """Hidden states (rows, queries, hidden) of a rectangle; those of padding mean nothing."""
        return self.decoder.forward(self._batch(rectangle))

    def copy_page(self, source: int, destination: int) -> None:
        """Copy one KV page, for the partial page of a fork."""
        self.cache.copy_page(source, destination)

    def clear_page(self, page: int) -> None:
        """Zero one KV page, for values that must not reach its next owner."""
        self.cache.clear_page(page)

    @torch.inference_mode()
    def prepare(self, rectangle: Rectangle, sampled: Ints) -> PreparedRectangle:
        """Everything that computing the last states of the rows `sampled` needs of the host."""
        wanted = sampled * rectangle.ids.shape[1] + rectangle.lengths[sampled] - 1
        return PreparedRectangle(self._batch(rectangle), self._to_device(wanted))

    @torch.inference_mode()
    def logits(self, parts: Sequence[PreparedRectangle]) -> Tensor:
        """Compute rectangles; logits (rows, vocabulary) of the rows that sample, in order."""
        return self.decoder.logits(torch.cat([self._last_states(part) for part in parts]))

    @torch.inference_mode()
    def extend(self, parts: Sequence[PreparedRectangle]) -> None:
        """Compute rectangles for their keys and values alone."""
        for part in parts:
            self.decoder.forward(part.batch)

    def _last_states(self, part: PreparedRectangle) -> Tensor:
        """(rows, hidden)"""
        return self.decoder.forward(part.batch).flatten(0, 1).index_select(0, part.wanted)

    def _pack(self, plan: StepPlan) -> Iterator[tuple[Rectangle, Ints]]:
        """Rectangles in plan order, each with the rows that sample."""
        if plan.decode:
            slots = plan.decode_slots
            ones = np.ones_like(slots)
            ids = self.slots.last_token[slots][:, None]
            yield Rectangle(slots, ids, self.slots.position[slots], ones), np.arange(len(slots))
        yield from group_chunks(plan.chunks)

    def _sampling(self, plan: StepPlan) -> SamplingBatch:
        table, slots = self.slots, plan.sampled_slots
        position = table.position[slots] + 1
        for row, chunk in enumerate((c for c in plan.chunks if c.samples), len(plan.decode)):
            position[row] = chunk.end
        temperature, top_p = table.temperature[slots], table.top_p[slots]
        return SamplingBatch(
            temperature=self._to_device(temperature),
            top_p=self._to_device(top_p),
            seed=self._to_device(table.seed[slots]),
            position=self._to_device(position),
            ban=self._to_device(table.ban[slots]),
            greedy=not temperature.any(),
            nucleus=bool((top_p < 1).any()),
        )

    def _batch(self, rectangle: Rectangle) -> TokenBatch:
        queries = rectangle.ids.shape[1]
        # Padding repeats the last position, so that it sees keys: a softmax over none is NaN.
        steps = np.minimum(np.arange(queries), rectangle.lengths[:, None] - 1)
        positions = rectangle.starts[:, None] + steps
        pages = self._pages_at(rectangle.slots, positions // self.cache.page_size)
        pages[np.arange(queries) >= rectangle.lengths[:, None]] = SCRATCH_PAGE
        write_rows = self.cache.token_rows(
            self._to_device(pages.ravel().astype(np.int64)),
            self._to_device((positions % self.cache.page_size).ravel()),
        )
        windows = set(self.decoder.spec.windows)
        return TokenBatch(
            ids=self._to_device(rectangle.ids),
            positions=self._to_device(positions.ravel()),
            write_rows=write_rows,
            views={window: self._view(rectangle, positions, window) for window in windows},
        )

    def _view(self, rectangle: Rectangle, positions: Ints, window: int | None) -> KeyView:
        """The pages from the first that a row's first query sees to the last it has."""
        page_size = self.cache.page_size
        starts = rectangle.starts
        first = np.zeros_like(starts) if window is None else np.maximum(starts - window + 1, 0)
        first_page = first // page_size
        last_page = (starts + rectangle.lengths - 1) // page_size
        columns = first_page[:, None] + np.arange((last_page - first_page).max() + 1)
        # Padding repeats a row's own last page: what another row holds may not be finite.
        columns = np.minimum(columns, last_page[:, None])
        gather = self.cache.page_heads(self._to_device(self._pages_at(rectangle.slots, columns)))
        last = self._to_device(positions - first_page[:, None] * page_size)
        return KeyView(gather, last, self._bias(last, columns.shape[1] * page_size, window))

    def _bias(self, last: Tensor, num_keys: int, window: int | None) -> Tensor:
        """0 where a query sees a key, -inf elsewhere."""
        keys, last = torch.arange(num_keys, device=self._device), last[:, :, None]
        hidden = keys > last
        if window is not None:
            hidden |= keys <= last - window
        bias = torch.zeros(hidden.shape, dtype=self.cache.dtype, device=self._device)
        bias.masked_fill_(hidden, float("-inf"))
        if last.shape[1] == 1:  # the same for all query heads: broadcast
            return bias[:, None]
        return bias.repeat(1, self.decoder.spec.group_size, 1)[:, None]

    def _pages_at(self, slots: Ints, columns: Ints) -> NDArray[np.int32]:
        """Physical pages; columns past the table belong to padding and read its last one."""
        table = self.slots.page_table
        pages: NDArray[np.int32] = table[slots[:, None], np.minimum(columns, table.shape[1] - 1)]
        return pages

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._device, non_blocking=True)


def group_chunks(chunks: list[Chunk]) -> Iterator[tuple[Rectangle, Ints]]:
    """Rectangles of neighbouring chunks, each with the rows that sample."""
    # Lengths that share their power of two: padding at most doubles the work.
    for _, group in groupby(chunks, key=lambda chunk: chunk.num_tokens.bit_length()):
        members = list(group)
        rows = [row for row, chunk in enumerate(members) if chunk.samples]
        yield pack_chunks(members), np.array(rows, np.int64)


def pack_chunks(chunks: list[Chunk]) -> Rectangle:
    """Pad chunks to the longest one."""
    lengths = np.array([chunk.num_tokens for chunk in chunks], np.int64)
    ids = np.zeros((len(chunks), lengths.max()), np.int64)
    for row, chunk in enumerate(chunks):
        ids[row, : chunk.num_tokens] = chunk.sequence.ids[chunk.start : chunk.end]
    return Rectangle(
        slots=np.array([chunk.sequence.slot for chunk in chunks], np.int64),
        ids=ids,
        starts=np.array([chunk.start for chunk in chunks], np.int64),
        lengths=lengths,
    )
