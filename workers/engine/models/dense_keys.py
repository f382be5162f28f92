"""The keys and values that a decode step attends to, kept in one rectangle from step to step.

Attention on CPU wants the pages of a batch side by side. To gather them anew at every step moves
more memory than all else; but from one decode step to the next a row only gains a token. So the
rectangle stays, the new token is written to it as well as to its page, and only rows that are not
as they were are gathered.

Invariant: after a decode step the rectangle equals the pages. So it does not matter whose row it
is, only which pages it is on. Whatever else writes to pages, a prefill or a copy of a page, makes
the rectangle stale as a whole.
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
        self._num_copies = 0
        self._steps = 0  # decode steps since anything else wrote to pages
        self._used: set[int | None] = set()  # windows whose rectangle this step keeps

    def begin(self, views: Mapping[int | None, KeyView], num_rows: int, num_queries: int) -> None:
        """Begin a forward pass; its keys are not stored yet."""
        is_other_write = num_queries > 1 or self._cache.num_copies != self._num_copies
        self._num_copies = self._cache.num_copies
        self._steps = 0 if is_other_write else self._steps + 1
        # While prefills come at every step there is nothing to keep: gather as always.
        kept: set[int | None] = set()
        if self._steps >= 2:
            kept = {w for w in views if self._pays(views[w], num_rows)}
        for window, view in views.items():
            if window in kept:
                self._rectangles[window].begin(view, num_rows)
            else:
                self._rectangles[window].forget()
        self._used = kept

    def of(self, layer: int, view: KeyView, new: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (rows, kv_heads, keys, head_dim).

        `new`: what was just stored for this layer, (rows * queries, 2 * kv_heads, head_dim).
        """
        window = self._windows[layer]
        if window in self._used:
            return self._rectangles[window].of(layer, view, new)
        return self._cache.gather(layer, view.gather, view.bias.shape[0])

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
        self._stale: list[tuple[int, Tensor]] = []  # rows, and what to gather for them

    def forget(self) -> None:
        """What is here no longer equals the pages."""
        self._pages, self._newest = self._pages[:0], self._newest[:0]

    def begin(self, view: KeyView, num_rows: int) -> None:
        """Find out which rows gained a token and nothing else."""
        num_heads, _ = self._shape
        num_keys = view.bias.shape[-1]
        heads = view.gather.view(2, num_rows, num_heads, -1)
        pages, newest = heads[0, :, 0], view.last[:, 0]
        if not self._fits(num_rows, num_keys):
            self._allocate(num_rows, num_keys + _SPARE_TOKENS, view)
            self.forget()
        self._stale = [(row, heads[:, row].flatten()) for row in self._stale_rows(pages)]
        self._pages, self._newest = pages, newest
        self._targets = (self._heads[:num_rows] + newest[:, None]).flatten()

    def of(self, layer: int, view: KeyView, new: Tensor) -> tuple[Tensor, Tensor]:
        buffer, num_keys = self._buffers[layer], view.bias.shape[-1]
        buffer.view(-1, self._shape[1]).index_copy_(0, self._targets, new.flatten(0, 1))
        for row, page_heads in self._stale:
            keys, values = self._cache.gather(layer, page_heads, 1)
            buffer[0, row, :, :num_keys] = keys[0]
            buffer[1, row, :, :num_keys] = values[0]
        keys, values = buffer[:, : len(self._pages), :, :num_keys]
        return keys, values

    def _fits(self, num_rows: int, num_keys: int) -> bool:
        """Rows come and go one by one: that is no reason for another rectangle."""
        if not self._buffers:
            return False
        _, row_capacity, _, capacity, _ = self._buffers[self._layers[0]].shape
        return num_rows <= row_capacity <= 2 * num_rows and num_keys <= capacity

    def _allocate(self, num_rows: int, capacity: int, view: KeyView) -> None:
        num_heads, head_dim = self._shape
        shape = (2, num_rows, num_heads, capacity, head_dim)
        self._buffers = {layer: view.bias.new_zeros(shape) for layer in self._layers}
        kinds, rows = torch.arange(2)[:, None], torch.arange(num_rows)[:, None, None]
        heads = (kinds * num_rows + rows) * num_heads + torch.arange(num_heads)
        self._heads = heads.flatten(1) * capacity

    def _stale_rows(self, pages: Tensor) -> list[int]:
        """Rows that are not on the pages they were on, as far as these held tokens."""
        if torch.equal(pages, self._pages):
            return []
        num_rows = min(len(pages), len(self._pages))
        num_columns = min(pages.shape[1], self._pages.shape[1])
        is_same = pages[:num_rows, :num_columns] == self._pages[:num_rows, :num_columns]
        last_columns = self._newest[:num_rows] // self._cache.page_size
        is_empty = torch.arange(num_columns) > last_columns[:, None]
        is_stale = torch.ones(len(pages), dtype=torch.bool)
        is_stale[:num_rows] = ~((is_same | is_empty).all(1) & (last_columns < num_columns))
        stale: list[int] = is_stale.nonzero().flatten().tolist()
        return stale
