"""The keys and values that a decode step attends to, kept in one rectangle from step to step.

Attention on CPU wants the pages of a batch side by side. To gather them anew at every step moves
more memory than all else; but from one decode step to the next a row only gains a token. So the
rectangle stays, the new token is written to it as well as to its page, and only rows that are not
as they were are gathered.

Invariant: after a decode step the rectangle equals the pages. So it does not matter whose row it
is, only which pages it is on, and whether anything else has written to these since: a prefill or a
copy of a page.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from workers.engine.kv_cache import KeyView, PagedKvCache
from workers.engine.models.spec import ModelSpec

_MIN_BYTES = 1 << 18  # per layer: less is gathered sooner than it is compared
_MAX_BYTES = 1 << 28  # over all layers: a second home for so much of the cache at most
_SPARE_TOKENS = 64


class DenseKeys:
    """Rectangles of one model, one per window."""

    def __init__(
        self,
        spec: ModelSpec,
        cache: PagedKvCache,
        *,
        min_bytes: int = _MIN_BYTES,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self._limits = min_bytes, max_bytes
        self._cache = cache
        self._windows = spec.windows
        self._token_bytes = 2 * spec.num_kv_heads * spec.head_dim * cache.dtype.itemsize
        self._rectangles = {window: _Rectangle(spec, cache, window) for window in set(spec.windows)}
        self._used: set[int | None] = set()  # windows whose rectangle this step keeps
        self._is_whole = True  # whether the last step that kept any went through all layers

    def begin(
        self,
        views: Mapping[int | None, KeyView],
        write_rows: Tensor,
        num_rows: int,
        num_queries: int,
    ) -> None:
        """Begin a forward pass; its keys are not stored yet, and go to `write_rows`."""
        self._used = set()
        if num_queries > 1:
            self._cache.note_written(write_rows)
            return
        if not self._is_whole:  # that step failed, and is tried again
            self._forget()
        written = self._cache.take_written_pages()
        for window, view in views.items():
            if self._pays(view, num_rows):
                self._used.add(window)
                self._rectangles[window].begin(view, num_rows, written)
            else:
                self._rectangles[window].forget()
        self._is_whole = not self._used

    def of(self, layer: int, view: KeyView, new: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (rows, kv_heads, keys, head_dim).

        `new`: what was just stored for this layer, (rows * queries, 2 * kv_heads, head_dim).
        """
        window = self._windows[layer]
        self._is_whole = layer == len(self._windows) - 1
        if window in self._used:
            return self._rectangles[window].of(layer, view, new)
        return self._cache.gather(layer, view.gather, view.bias.shape[0])

    def _forget(self) -> None:
        for rectangle in self._rectangles.values():
            rectangle.forget()

    def _pays(self, view: KeyView, num_rows: int) -> bool:
        min_bytes, max_bytes = self._limits
        layer_bytes = num_rows * (view.bias.shape[-1] + _SPARE_TOKENS) * self._token_bytes
        is_worth_it = min_bytes <= layer_bytes <= max_bytes // len(self._windows)
        return view.bias.is_cpu and is_worth_it


class _Rectangle:
    """Per layer (2, rows, kv_heads, capacity, head_dim): keys, then values."""

    def __init__(self, spec: ModelSpec, cache: PagedKvCache, window: int | None) -> None:
        self._cache = cache
        self._shape = (spec.num_kv_heads, spec.head_dim)
        self._layers = [layer for layer, w in enumerate(spec.windows) if w == window]
        self._buffers: dict[int, Tensor] = {}
        self._pages = torch.empty(0, 0, dtype=torch.int32)  # of each row, as last seen
        self._newest = torch.empty(0, dtype=torch.int64)  # the key of each row's last token
        self._heads = torch.empty(0, 0, dtype=torch.int64)  # where those of a row begin
        self._targets = torch.empty(0, dtype=torch.int64)  # where this step's tokens go
        self._stale = torch.empty(0, dtype=torch.int64)  # rows to gather anew
        self._stale_heads = torch.empty(0, dtype=torch.int32)  # what to gather for them

    def forget(self) -> None:
        """What is here no longer equals the pages."""
        self._pages, self._newest = self._pages[:0], self._newest[:0]

    def begin(self, view: KeyView, num_rows: int, written: Tensor) -> None:
        """Find out which rows gained a token and nothing else; `written` are pages, (n,) int32."""
        num_heads, _ = self._shape
        num_keys = view.bias.shape[-1]
        heads = view.gather.view(2, num_rows, num_heads, -1)
        pages, newest = heads[0, :, 0], view.last[:, 0]
        if not self._fits(num_rows, num_keys):
            self._allocate(num_rows + _spare_rows(num_rows), num_keys + _SPARE_TOKENS, view)
            self.forget()
        self._stale = self._stale_rows(pages, written * num_heads)
        self._stale_heads = heads[:, self._stale].flatten()
        self._pages, self._newest = pages, newest
        self._targets = (self._heads[:num_rows] + newest[:, None]).flatten()

    def of(self, layer: int, view: KeyView, new: Tensor) -> tuple[Tensor, Tensor]:
        buffer, num_keys = self._buffers[layer], view.bias.shape[-1]
        buffer.view(-1, self._shape[1]).index_copy_(0, self._targets, new.flatten(0, 1))
        if len(self._stale):
            keys, values = self._cache.gather(layer, self._stale_heads, len(self._stale))
            buffer[0, self._stale, :, :num_keys] = keys
            buffer[1, self._stale, :, :num_keys] = values
        keys, values = buffer[:, : len(self._pages), :, :num_keys]
        return keys, values

    def _fits(self, num_rows: int, num_keys: int) -> bool:
        """Rows come and go one by one: that is no reason for another rectangle."""
        if not self._buffers:
            return False
        _, row_capacity, _, capacity, _ = self._buffers[self._layers[0]].shape
        most_rows = 2 * (num_rows + _spare_rows(num_rows))
        return num_rows <= row_capacity <= most_rows and num_keys <= capacity

    def _allocate(self, num_rows: int, capacity: int, view: KeyView) -> None:
        num_heads, head_dim = self._shape
        shape = (2, num_rows, num_heads, capacity, head_dim)
        self._buffers = {layer: view.bias.new_zeros(shape) for layer in self._layers}
        kinds, rows = torch.arange(2)[:, None], torch.arange(num_rows)[:, None, None]
        heads = (kinds * num_rows + rows) * num_heads + torch.arange(num_heads)
        self._heads = heads.flatten(1) * capacity

    def _stale_rows(self, pages: Tensor, written: Tensor) -> Tensor:
        """Rows that are not on the pages they were on, or whose pages were written to, (n,)."""
        num_rows = min(len(pages), len(self._pages))
        is_stale = torch.ones(len(pages), dtype=torch.bool)
        is_stale[:num_rows] = ~self._is_kept(pages[:num_rows], num_rows)
        if len(written):
            is_stale |= torch.isin(pages, written).any(1)
        return is_stale.nonzero().flatten()

    def _is_kept(self, pages: Tensor, num_rows: int) -> Tensor:
        """Rows (rows,) on the pages they were on, as far as these held tokens."""
        num_columns = min(pages.shape[1], self._pages.shape[1])
        is_same = pages[:, :num_columns] == self._pages[:num_rows, :num_columns]
        last_columns = self._newest[:num_rows] // self._cache.page_size
        is_empty = torch.arange(num_columns) > last_columns[:, None]
        return (is_same | is_empty).all(1) & (last_columns < num_columns)


def _spare_rows(num_rows: int) -> int:
    """For those that come and go, branches above all."""
    return 1 + num_rows // 4
