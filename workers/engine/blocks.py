"""The pages of the KV cache: who holds which. Pure Python; the tensors are in kv_cache.py.

Page 0 is scratch: padding writes there, and nobody ever owns it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SCRATCH_PAGE = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KvGeometry:
    """How tokens map to pages. `sliding_window` None: some layer attends to every token."""

    page_size: int
    sliding_window: int | None
    bytes_per_page: int
    max_chunk_tokens: int  # most tokens that one step adds to a sequence

    def num_pages(self, num_tokens: int) -> int:
        """Pages that `num_tokens` tokens span from position 0."""
        return -(-num_tokens // self.page_size)

    def first_page(self, position: int) -> int:
        """The first page that a query at `position` can see."""
        if self.sliding_window is None:
            return 0
        return max(0, position - self.sliding_window + 1) // self.page_size

    def resident_pages(self, num_tokens: int) -> int:
        """The most pages a sequence of `num_tokens` holds at once while it is computed."""
        if self.sliding_window is None:
            return self.num_pages(num_tokens)
        # The keys of one chunk's queries, which need not begin or end at a page boundary.
        span = self.sliding_window + self.max_chunk_tokens
        return min(self.num_pages(num_tokens), (span - 2) // self.page_size + 2)


@dataclass(frozen=True, slots=True)
class Fork:
    """Pages of a child, and the one page (source, destination) to copy before it writes."""

    pages: list[int]
    copy: tuple[int, int] | None


class PagePool:
    """Free list and reference counts of `num_pages` pages, page 0 excepted."""

    def __init__(self, num_pages: int) -> None:
        if num_pages < 2:
            raise ValueError("num_pages must be at least 2: page 0 is scratch")
        self.num_pages = num_pages
        self._free = list(range(num_pages - 1, SCRATCH_PAGE, -1))  # a stack
        self._references = [0] * num_pages

    @property
    def capacity(self) -> int:
        """Pages that can be handed out."""
        return self.num_pages - 1

    @property
    def num_free(self) -> int:
        return len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Take `count` pages. The caller has checked `num_free`."""
        assert count <= len(self._free), "the scheduler checks num_free first"
        pages = [self._free.pop() for _ in range(count)]
        for page in pages:
            self._references[page] = 1
        return pages

    def release(self, pages: Iterable[int]) -> None:
        """Drop one reference to each page; a page without references is free."""
        for page in pages:
            self._references[page] -= 1
            assert self._references[page] >= 0, f"page {page} released twice"
            if self._references[page] == 0:
                self._free.append(page)

    def fork(self, pages: Sequence[int], *, tail_is_partial: bool) -> Fork:
        """Share `pages` with a child; a partial last page is replaced by a page to copy into.

        Takes one page when `tail_is_partial`; the caller has checked `num_free`.
        """
        shared = list(pages[:-1] if tail_is_partial else pages)
        for page in shared:
            self._references[page] += 1
        if not tail_is_partial:
            return Fork(shared, None)
        (tail,) = self.allocate(1)
        return Fork([*shared, tail], (pages[-1], tail))

    def check(self, owners: Iterable[Sequence[int]]) -> None:
        """Assert that references equal the owners' pages and that every page is accounted for."""
        held = Counter(page for pages in owners for page in pages)
        assert held[SCRATCH_PAGE] == 0, "the scratch page has an owner"
        for page in range(1, self.num_pages):
            assert self._references[page] == held[page], f"page {page}: wrong reference count"
        assert len(set(self._free)) == len(self._free), "a page is free twice"
        assert len(self._free) + len(held) == self.capacity, "a page is lost"
        assert not set(self._free) & set(held), "a free page has an owner"
