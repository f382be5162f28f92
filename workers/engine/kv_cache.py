"""The tensors of the paged KV cache, and where a step reads and writes them.

One tensor per layer, (2, pages, kv_heads, page_size, head_dim): keys, then values. A page of
one head is contiguous, so that a batch is gathered by one index_select.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.engine.kernels.interface import LayerCache
from workers.engine.models.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class KeyView:
    """The cached keys that a step's queries see, for the layers of one window.

    `gather`: (2 * rows * kv_heads * pages,) int32, heads of pages to read.
    `last`: (rows, queries) int64, the last key that each query sees.
    `bias`: (rows, 1, 1 or group_size * queries, keys), 0 where a query sees a key, else -inf.
    """

    gather: Tensor
    last: Tensor
    bias: Tensor


class PagedKvCache:
    """Keys and values of all layers."""

    def __init__(
        self,
        spec: ModelSpec,
        num_pages: int,
        page_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.page_size = page_size
        self.dtype = dtype
        self.device = device
        self._num_pages = num_pages
        self._num_kv_heads = spec.num_kv_heads
        self._head_dim = spec.head_dim
        shape = (2 * num_pages * spec.num_kv_heads, page_size * spec.head_dim)
        self._pages = [
            torch.zeros(shape, dtype=dtype, device=device) for _ in range(spec.num_layers)
        ]
        self._tokens = [pages.view(-1, spec.head_dim) for pages in self._pages]
        self._gathered = self._pages[0].new_empty(0)
        kinds = torch.arange(2, device=device)[:, None] * num_pages * spec.num_kv_heads
        heads = kinds + torch.arange(spec.num_kv_heads, device=device)  # of page 0
        self._page_heads = heads.to(torch.int32)[:, None, :, None]
        self._token_heads = heads.flatten() * page_size
        self._written_pages: set[int] = set()  # copied, cleared, prefilled since they were taken

    @staticmethod
    def bytes_per_page(spec: ModelSpec, page_size: int, dtype: torch.dtype) -> int:
        """Bytes of one page over all layers, keys and values."""
        per_token = 2 * spec.num_layers * spec.num_kv_heads * spec.head_dim * dtype.itemsize
        return per_token * page_size

    def layer(self, index: int) -> LayerCache:
        """Keys and values of a layer by page, for kernels that walk page tables themselves."""
        shape = (2, self._num_pages, self._num_kv_heads, self.page_size, self._head_dim)
        keys, values = self._pages[index].view(shape).unbind(0)
        return LayerCache(keys, values)

    def page_heads(self, pages: Tensor) -> Tensor:
        """Gather index of `pages` (rows, pages): keys, then values, by row, head and page."""
        return (pages[:, None] * self._num_kv_heads + self._page_heads).flatten()

    def token_rows(self, pages: Tensor, offsets: Tensor) -> Tensor:
        """Write index of tokens at `offsets` in `pages`: by token, then keys and values, head."""
        first = pages * (self._num_kv_heads * self.page_size) + offsets
        return (first[:, None] + self._token_heads).flatten()

    def store(self, layer: int, rows: Tensor, keys_values: Tensor) -> None:
        """Write `keys_values` (tokens, 2 * kv_heads, head_dim) at `token_rows`."""
        self._tokens[layer].index_copy_(0, rows, keys_values.reshape(-1, self._head_dim))

    def gather(self, layer: int, page_heads: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
        """Keys and values at `page_heads`, each (rows, kv_heads, keys, head_dim).

        They are valid until the next call: all layers share one buffer, because fresh memory for
        megabytes that live for microseconds costs more in page faults than the copy itself.
        """
        pages = self._pages[layer]
        size = len(page_heads) * pages.shape[1]
        if self._gathered.numel() < size:
            self._gathered = pages.new_empty(size)
        found = self._gathered[:size].view(-1, pages.shape[1])
        torch.index_select(pages, 0, page_heads, out=found)
        shape = (2, num_rows, self._num_kv_heads, -1, self._head_dim)
        keys, values = found.view(shape).unbind(0)
        return keys, values

    def note_written(self, rows: Tensor) -> None:
        """Remember the pages of `rows`, as `token_rows` gives them."""
        if rows.is_cpu:  # for who mirrors pages, and that pays on CPU alone
            keys = rows.view(-1, 2 * self._num_kv_heads)[:, 0]
            pages = keys // (self._num_kv_heads * self.page_size)
            self._written_pages.update(pages.tolist())

    def take_written_pages(self) -> Tensor:
        """Pages (n,) int32 that something but a decode step wrote to, since the last call."""
        pages = torch.tensor(list(self._written_pages), dtype=torch.int32)
        self._written_pages.clear()
        return pages

    def clear_page(self, page: int) -> None:
        """Zero one page of every layer."""
        self._written_pages.add(page)
        for pages in self._pages:
            pages.view(2, self._num_pages, -1)[:, page] = 0

    def copy_page(self, source: int, destination: int) -> None:
        """Copy one page of every layer, for a fork's partial page."""
        self._written_pages.add(destination)
        for pages in self._pages:
            by_page = pages.view(2, self._num_pages, -1)
            by_page[:, destination] = by_page[:, source]
