"""What a decode step knows of each slot, on the device: one row of 32-bit words per slot.

The device advances the rows by itself; the host sends only words that it changed. So a step
needs nothing from the host, and the next one can be launched before its tokens are read.

    word    0            1            2            3       4         5          6    7
            last_token   num_tokens   temperature  top_p   seed low  seed high  ban  unused
    word    8 ...        the page table, one word per logical page
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LAST_TOKEN, NUM_TOKENS, TEMPERATURE, TOP_P, SEED_LOW, SEED_HIGH, BAN, UNUSED = range(8)
PAGE_TABLE = 8
NUM_WORDS_MASK = 0xFFFFFFFF


class RowTable:
    """The words of `num_slots` slots and of one more, the dummy, which padding uses.

    `num_tokens` counts the tokens whose keys a query sees, its own included; the dummy has none,
    and its page table names the scratch page.
    """

    def __init__(self, num_slots: int, max_pages: int, device: torch.device) -> None:
        self.dummy_slot = num_slots
        shape = (num_slots + 1, PAGE_TABLE + max_pages)
        self.words = torch.zeros(shape, dtype=torch.int32, device=device)
        self.last_token = self.words[:, LAST_TOKEN]
        self.num_tokens = self.words[:, NUM_TOKENS]
        self.page_table = self.words[:, PAGE_TABLE:]

    @property
    def word_stride(self) -> int:
        """Words from one slot to the next."""
        return self.words.stride(0)


def next_ban(ban: Any, token: Any, close_id: int) -> Any:
    """The BanSet after a sampled token, for arrays or tensors; `close_id` -1: no thinking.

    </think> ends THINK (0), and the first token of the answer ends FIRST_ANSWER (1); a token that
    ends the request, or its thinking by other means, does not matter: the host acts on it.
    """
    return (ban == 0) * (token == close_id) + (ban > 0) * 2


@dataclass(frozen=True, slots=True)
class RowBatch:
    """The slots of one decode batch, (rows,) int32; padding is the dummy slot."""

    table: RowTable
    slots: Tensor

    def advance(self, tokens: Tensor, close_id: int) -> None:
        """Take `tokens` (rows,) as the next inputs; the dummy keeps its length of 0."""
        is_real = (self.slots != self.table.dummy_slot).to(torch.int32)
        tokens = tokens.to(torch.int32)
        following = {
            LAST_TOKEN: tokens,
            NUM_TOKENS: self.word(NUM_TOKENS) + is_real,
            BAN: next_ban(self.word(BAN), tokens, close_id).to(torch.int32),
        }
        for index, words in following.items():
            self.table.words[:, index].index_copy_(0, self.slots.to(torch.int64), words)

    def word(self, index: int) -> Tensor:
        """One word of each row, (rows,) int32."""
        return self.table.words[:, index].index_select(0, self.slots)

    def float_word(self, index: int) -> Tensor:
        """One word of each row, (rows,) float32."""
        return self.word(index).view(torch.float32)

    @property
    def seeds(self) -> Tensor:
        """(rows,) int64."""
        low = self.word(SEED_LOW).to(torch.int64) & NUM_WORDS_MASK
        return (self.word(SEED_HIGH).to(torch.int64) << 32) | low

    @property
    def positions(self) -> Tensor:
        """Of the input tokens, (rows,) int64; 0 for the dummy."""
        return self.word(NUM_TOKENS).to(torch.int64).sub_(1).clamp_(min=0)
