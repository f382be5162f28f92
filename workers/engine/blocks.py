"""The pages of the KV cache: who holds which. Pure Python; the tensors are in kv_cache.py.

Page 0 is scratch: padding writes there, and nobody ever owns it.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workers.engine.prefix_cache import PageKey, PrefixIndex

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
    """Free list and reference counts of `num_pages` pages, page 0 excepted.

    A published page that nobody holds is idle: it can be found again until its room is needed,
    the least recently used first. So idle pages count as free.
    """

    def __init__(self, num_pages: int) -> None:
        if num_pages < 2:
            raise ValueError("num_pages must be at least 2: page 0 is scratch")
        self.num_pages = num_pages
        self._free = list(range(num_pages - 1, SCRATCH_PAGE, -1))  # a stack
        self._references = [0] * num_pages
        self._prefixes = PrefixIndex()
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def capacity(self) -> int:
        """Pages that can be handed out."""
        return self.num_pages - 1

    @property
    def num_free(self) -> int:
        """Pages that can be handed out now, idle ones included."""
        return len(self._free) + len(self._idle)

    @property
    def num_idle(self) -> int:
        return len(self._idle)

    def allocate(self, count: int) -> list[int]:
        """Take `count` pages. The caller has checked `num_free`."""
        assert count <= self.num_free, "the scheduler checks num_free first"
        pages = [self._free.pop() if self._free else self._evict() for _ in range(count)]
        for page in pages:
            self._references[page] = 1
        return pages

    def release(self, pages: Iterable[int]) -> None:
        """Drop one reference to each page; one without references is idle or free.

        The last page is given up first: a prefix is of use only from its beginning.
        """
        for page in reversed(list(pages)):
            self._references[page] -= 1
            assert self._references[page] >= 0, f"page {page} released twice"
            if self._references[page] == 0:
                self._put_away(page)

    def fork(self, pages: Sequence[int], *, tail_is_partial: bool) -> Fork:
        """Share `pages` with a child; a partial last page is replaced by a page to copy into.

        Takes one page when `tail_is_partial`; the caller has checked `num_free`.
        """
        shared = list(pages[:-1] if tail_is_partial else pages)
        self.share(shared)
        if not tail_is_partial:
            return Fork(shared, None)
        (tail,) = self.allocate(1)
        return Fork([*shared, tail], (pages[-1], tail))

    def share(self, pages: Iterable[int]) -> None:
        """Add one reference to each page, held or idle."""
        for page in pages:
            self._idle.pop(page, None)
            self._references[page] += 1

    def publish(self, page: int, key: PageKey) -> None:
        """Let others find a held page by its tokens; the first page with these tokens stays."""
        self._prefixes.add(page, key)

    def find(self, key: PageKey) -> int | None:
        """A page, held or idle, that holds exactly the tokens of `key`."""
        return self._prefixes.find(key)

    def forget(self, pages: Iterable[int]) -> None:
        """Let nobody find these pages any more."""
        for page in pages:
            self._prefixes.remove(page)
            if page in self._idle:
                del self._idle[page]
                self._free.append(page)

    def is_held(self, page: int) -> bool:
        """Whether somebody holds the page."""
        return self._references[page] > 0

    def check(self, owners: Iterable[Sequence[int]]) -> None:
        """Assert that references equal the owners' pages and that every page is accounted for."""
        held = Counter(page for pages in owners for page in pages)
        assert held[SCRATCH_PAGE] == 0, "the scratch page has an owner"
        for page in range(1, self.num_pages):
            assert self._references[page] == held[page], f"page {page}: wrong reference count"
        assert len(set(self._free)) == len(self._free), "a page is free twice"
        assert len(self._free) + len(self._idle) + len(held) == self.capacity, "a page is lost"
        assert not set(self._free) & set(held), "a free page has an owner"
        assert not self._idle.keys() & held.keys(), "an idle page has an owner"
        assert all(page in self._prefixes for page in self._idle), "an idle page is of no use"
        assert not any(page in self._prefixes for page in self._free), "a free page can be found"
        self._prefixes.check()

    def _put_away(self, page: int) -> None:
        if page in self._prefixes:
            self._idle[page] = None
        else:
            self._free.append(page)

    def _evict(self) -> int:
        page, _ = self._idle.popitem(last=False)
        self._prefixes.remove(page)
        return page
