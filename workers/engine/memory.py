"""Gives sequences their slots and pages: at the start, as they grow, when they fork. No torch.

It shares pages of equal prefixes. It never chooses who gives way: the scheduler does.
"""

from collections.abc import Iterable

from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.branch import Branch
from workers.engine.prefix_cache import PageKey, extend_keys
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable


class SequenceMemory:
    """The one place that changes what a sequence holds."""

    def __init__(
        self, geometry: KvGeometry, pool: PagePool, slots: SlotTable, *, shares_prefixes: bool
    ) -> None:
        self.geometry = geometry
        self.pool = pool
        self.slots = slots
        self.num_prefix_tokens = 0  # that were found instead of computed
        self._soiled_pages: list[int] = []
        self._shares_prefixes = shares_prefixes

    def find_prefix(self, sequence: Sequence) -> list[int | None]:
        """The pages of the longest computed prefix; None for those that no query sees.

        At least the last token is left to compute: its logits are wanted.
        """
        if not self._shares_prefixes:
            return []
        num_pages = (len(sequence.ids) - 1) // self.geometry.page_size
        self._extend_keys(sequence, num_pages)
        found = self._find_pages(sequence.page_keys[:num_pages])
        length = self._usable_length(found)
        first_page = self._first_page(length)
        return [None] * first_page + found[first_page:length]

    def pages_to_start(self, sequence: Sequence, prefix: list[int | None]) -> int:
        """Free pages that the sequence takes until its last token is computed."""
        shared = sum(page is not None and self.pool.is_held(page) for page in prefix)
        return self.geometry.resident_pages(len(sequence.ids)) - shared

    def pages_to_finish(self, sequence: Sequence) -> int:
        """Free pages that a prefill which has begun still takes."""
        return max(0, self.geometry.resident_pages(len(sequence.ids)) - len(sequence.pages))

    def start(self, sequence: Sequence, prefix: list[int | None]) -> None:
        """Give the sequence a slot and the pages of its prefix."""
        pages = [page for page in prefix if page is not None]
        self.pool.share(pages)
        sequence.first_page = len(prefix) - len(pages)
        sequence.num_computed = len(prefix) * self.geometry.page_size
        sequence.num_published = len(prefix)
        sequence.hold(pages)
        self.slots.occupy(sequence)
        self.num_prefix_tokens += sequence.num_computed

    def pages_to_grow(self, sequence: Sequence, num_tokens: int) -> int:
        """Pages that the next tokens need, after giving up those that they do not see."""
        end_page = self.geometry.num_pages(sequence.num_computed + num_tokens)
        if end_page <= sequence.next_page:
            return 0
        first_page = self.geometry.first_page(sequence.num_computed)
        self.pool.release(sequence.drop_pages_before(first_page))
        return end_page - sequence.next_page

    def grow(self, sequence: Sequence, count: int) -> None:
        """Add `count` pages. The caller has checked that they are free."""
        pages = self.pool.allocate(count)
        self.slots.add_pages(sequence.slot, sequence.next_page, pages)
        sequence.hold(pages)

    def stop(self, sequence: Sequence) -> None:
        """Take slot and pages back."""
        if sequence.is_running:
            self.slots.vacate(sequence)
        self.pool.release(sequence.reset())

    def forget(self, sequence: Sequence) -> None:
        """Let nobody find the pages of a sequence whose values may not be finite."""
        self.pool.forget(sequence.pages)
        self._soiled_pages += sequence.pages

    def take_soiled_pages(self) -> list[int]:
        """Pages to clear before anybody takes them: a masked NaN is still a NaN."""
        pages = [page for page in self._soiled_pages if not self.pool.is_held(page)]
        self._soiled_pages.clear()
        return pages

    def pages_to_fork(self, parent: Sequence, num_ids: int) -> int:
        """Free pages that a child takes until `num_ids` tokens are computed."""
        return self.geometry.num_pages(num_ids) - parent.num_computed // self.geometry.page_size

    def fork(self, branch: Branch) -> tuple[int, int] | None:
        """Give a branch its slot and its parent's pages; the one page to copy, if any."""
        parent, page_size = branch.parent, self.geometry.page_size
        num_pages = self.geometry.num_pages(parent.num_computed) - parent.first_page
        is_partial = parent.num_computed % page_size != 0
        fork = self.pool.fork(parent.pages[:num_pages], tail_is_partial=is_partial)
        branch.first_page, branch.num_computed = parent.first_page, parent.num_computed
        branch.hold(fork.pages)
        self.slots.occupy(branch)
        return fork.copy

    def publish(self, sequence: Sequence) -> None:
        """Let others find the pages that the sequence has filled. Not for branches."""
        num_full = sequence.num_computed // self.geometry.page_size
        if not self._shares_prefixes or num_full <= sequence.num_published:
            return
        self._extend_keys(sequence, num_full)
        for page in range(max(sequence.num_published, sequence.first_page), num_full):
            self.pool.publish(sequence.pages[page - sequence.first_page], sequence.page_keys[page])
        sequence.num_published = num_full

    def check(self, sequences: Iterable[Sequence]) -> None:
        """Assert the invariants of pages and slots."""
        sequences = list(sequences)
        self.pool.check([sequence.pages for sequence in sequences])
        assert len({s.slot for s in sequences}) == len(sequences), "a slot is shared"
        assert self.slots.num_free + len(sequences) == self.slots.num_slots, "a slot is lost"
        for s in sequences:
            row = self.slots.page_table[s.slot, s.first_page : s.next_page]
            assert row.tolist() == s.pages, "the page table differs from the pages held"
            assert s.next_page * self.geometry.page_size >= s.num_computed, "keys without a page"

    def _extend_keys(self, sequence: Sequence, num_pages: int) -> None:
        extend_keys(sequence.page_keys, sequence.ids, self.geometry.page_size, num_pages)

    def _find_pages(self, keys: list[PageKey]) -> list[int | None]:
        found: list[int | None] = []
        for key in keys:
            page = self.pool.find(key)
            if page is None and self.geometry.sliding_window is None:
                break  # later pages are of no use without this one
            found.append(page)
        return found

    def _first_page(self, num_pages: int) -> int:
        """The first page that a query right after `num_pages` pages sees."""
        return min(num_pages, self.geometry.first_page(num_pages * self.geometry.page_size))

    def _usable_length(self, found: list[int | None]) -> int:
        """The most leading pages after which every page that a query sees was found."""
        longest = run = 0
        for length, page in enumerate(found, 1):
            run = 0 if page is None else run + 1
            if run >= length - self._first_page(length):
                longest = length
        return longest
