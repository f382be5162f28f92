"""What the host knows of the device's rows: it sends the words that differ, and no others.

In steady decode that is one page per row and 16 steps. A word that the device wrote by itself
and the host has not read yet is UNKNOWN, and differs from everything.
"""

from collections.abc import Sequence as Items
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine.row_table import (
    BAN,
    LAST_TOKEN,
    NUM_TOKENS,
    PAGE_TABLE,
    SEED_HIGH,
    SEED_LOW,
    TEMPERATURE,
    TOP_P,
    next_ban,
)
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable

Ints = NDArray[np.int64]
UNKNOWN = -1
Updates = tuple[Ints, Ints]  # flat word indices, and the words


class RowMirror:
    """Host arrays of shape (num_slots,), beside a SlotTable that says what should be there."""

    def __init__(self, slots: SlotTable, word_stride: int, page_size: int, close_id: int) -> None:
        num_slots = len(slots.position)
        self._slots = slots
        self._stride = word_stride
        self.page_size = page_size
        self.close_id = close_id
        self._owner: list[Sequence | None] = [None] * num_slots
        self._num_tokens = np.zeros(num_slots, np.int64)
        self._num_pages = np.zeros(num_slots, np.int64)
        self._last_token = np.full(num_slots, UNKNOWN, np.int64)
        self._ban = np.full(num_slots, UNKNOWN, np.int64)

    def set_rows(self, sequences: Items[Sequence], slots: Ints, num_tokens: Ints) -> Updates:
        """Updates after which the rows hold what the SlotTable says, and `num_tokens`."""
        same = self._continues(sequences, slots, num_tokens)
        fresh = ~same
        for row in fresh.nonzero()[0].tolist():
            self._owner[slots[row]] = sequences[row]
        parts = [
            self._whole_rows(slots[fresh], num_tokens[fresh]),
            self._changed(slots[same], LAST_TOKEN, self._last_token, self._slots.last_token),
            self._changed(slots[same], BAN, self._ban, self._slots.ban),
            self._new_pages(slots[same], num_tokens[same]),
        ]
        return _concatenate(parts)

    def carry_rows(self, slots: Ints, num_tokens: Ints) -> Updates:
        """Updates for rows that go on from what the device itself has sampled."""
        return self._new_pages(slots, num_tokens)

    def advance(self, slots: Ints) -> None:
        """The device samples a token for each slot."""
        self._num_tokens[slots] += 1
        self._last_token[slots] = UNKNOWN
        self._ban[slots] = UNKNOWN

    def learn(self, slots: Ints, tokens: Ints, bans: Ints) -> None:
        """The device's rows hold these tokens, sampled under `bans`, and nothing newer."""
        self._last_token[slots] = tokens
        self._ban[slots] = next_ban(bans, tokens, self.close_id)

    def forget(self, slots: Ints) -> None:
        """A prefill may have moved the slots' sequences to other pages: send the rows whole."""
        for slot in slots.tolist():
            self._owner[slot] = None

    def _continues(
        self, sequences: Items[Sequence], slots: Ints, num_tokens: Ints
    ) -> NDArray[np.bool_]:
        owners = [
            self._owner[slot] is sequence
            for slot, sequence in zip(slots.tolist(), sequences, strict=True)
        ]
        continues = np.array(owners, np.bool_)
        continues &= self._num_tokens[slots] == num_tokens
        return continues

    def _whole_rows(self, slots: Ints, num_tokens: Ints) -> Updates:
        table = self._slots
        seeds = table.seed[slots].view(np.int32).reshape(-1, 2)  # little-endian: low, then high
        words: dict[int, NDArray[np.integer[Any]]] = {
            LAST_TOKEN: table.last_token[slots],
            NUM_TOKENS: num_tokens,
            TEMPERATURE: table.temperature[slots].view(np.int32),
            TOP_P: table.top_p[slots].view(np.int32),
            SEED_LOW: seeds[:, 0],
            SEED_HIGH: seeds[:, 1],
            BAN: table.ban[slots],
        }
        self._num_tokens[slots] = num_tokens
        self._last_token[slots] = table.last_token[slots]
        self._ban[slots] = table.ban[slots]
        self._num_pages[slots] = 0
        base = slots * self._stride
        return _concatenate(
            [(base + word, values.astype(np.int64)) for word, values in words.items()]
            + [self._new_pages(slots, num_tokens)]
        )

    def _changed(self, slots: Ints, word: int, known: Ints, wanted: Ints) -> Updates:
        changed = slots[known[slots] != wanted[slots]]
        known[changed] = wanted[changed]
        return changed * self._stride + word, wanted[changed]

    def _new_pages(self, slots: Ints, num_tokens: Ints) -> Updates:
        """The pages that hold the first `num_tokens` tokens and have not been sent."""
        needed: Ints = (num_tokens + self.page_size - 1) // self.page_size
        missing = needed - self._num_pages[slots]
        rows = np.repeat(np.arange(len(slots)), np.maximum(missing, 0))
        first = np.repeat(np.cumsum(np.maximum(missing, 0)), np.maximum(missing, 0))
        # Counts down from `needed` to the first page that is missing.
        columns = needed[rows] - first + np.arange(len(rows))
        self._num_pages[slots] = np.maximum(needed, self._num_pages[slots])
        indices: Ints = slots[rows] * self._stride + PAGE_TABLE + columns
        return indices, self._slots.page_table[slots[rows], columns].astype(np.int64)


def _concatenate(parts: list[Updates]) -> Updates:
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
