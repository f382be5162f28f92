"""Persistent per-slot arrays: what the runner needs to know of each running sequence.

The scheduler writes single entries when something changes; the runner reads whole batches by
fancy indexing. So the cost of a step's inputs does not grow with Python objects per row.
"""

import numpy as np
from numpy.typing import NDArray

from workers.engine.sequence import Sequence


class SlotTable:
    """Arrays of shape (num_slots,), and the page table (num_slots, max_pages)."""

    def __init__(self, num_slots: int, max_pages: int) -> None:
        self.page_table = np.zeros((num_slots, max_pages), np.int32)
        self.position = np.zeros(num_slots, np.int64)  # of the next input token
        self.last_token = np.zeros(num_slots, np.int64)  # the next input token of a decode row
        self.temperature = np.zeros(num_slots, np.float32)
        self.top_p = np.ones(num_slots, np.float32)
        self.seed = np.zeros(num_slots, np.int64)
        self.ban = np.zeros(num_slots, np.int64)  # a BanSet
        self._free = list(range(num_slots - 1, -1, -1))

    @property
    def num_slots(self) -> int:
        return len(self.position)

    @property
    def num_free(self) -> int:
        return len(self._free)

    def occupy(self, sequence: Sequence) -> None:
        """Give the sequence a slot, write its sampling parameters and where it stands."""
        slot = self._free.pop()
        request = sequence.request
        sequence.slot = slot
        self.temperature[slot] = request.temperature
        self.top_p[slot] = request.top_p
        self.seed[slot] = request.seed
        self.ban[slot] = sequence.thinking.ban
        self.position[slot] = sequence.num_computed
        self.last_token[slot] = sequence.ids[sequence.num_computed]
        self.add_pages(slot, sequence.first_page, sequence.pages)

    def vacate(self, sequence: Sequence) -> None:
        """Take the slot back."""
        self._free.append(sequence.slot)
        sequence.slot = -1

    def add_pages(self, slot: int, first_page: int, pages: list[int]) -> None:
        """Append physical pages at logical page `first_page`."""
        self.page_table[slot, first_page : first_page + len(pages)] = pages

    def advance(self, slots: NDArray[np.int64], tokens: NDArray[np.int64]) -> None:
        """Record that each slot computed one token and sampled the next."""
        self.position[slots] += 1
        self.last_token[slots] = tokens
