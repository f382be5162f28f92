"""Which words travel to the device."""

from typing import Any

import numpy as np
import pytest

from workers.engine.row_mirror import RowMirror
from workers.engine.row_table import (
    BAN,
    LAST_TOKEN,
    NUM_TOKENS,
    PAGE_TABLE,
    SEED_HIGH,
    SEED_LOW,
    TEMPERATURE,
    TOP_P,
)
from workers.engine.slots import SlotTable
from workers.engine.thinking import BanSet

STRIDE, PAGE_SIZE, CLOSE = 20, 4, 4
SLOT = 2
SLOTS = np.array([SLOT])


@pytest.fixture
def slots():
    table = SlotTable(4, 10)
    table.page_table[SLOT] = range(30, 40)
    table.last_token[SLOT], table.seed[SLOT], table.ban[SLOT] = 11, -5, 1
    table.temperature[SLOT], table.top_p[SLOT] = 0.5, 0.25
    return table


@pytest.fixture
def mirror(slots):
    return RowMirror(slots, STRIDE, PAGE_SIZE, CLOSE)


@pytest.fixture
def sequence() -> Any:
    return object()  # only its identity counts


def words_of(updates):
    indices, words = updates
    assert len(set(indices.tolist())) == len(indices)
    return {int(i) - SLOT * STRIDE: int(w) for i, w in zip(indices, words, strict=True)}


def test_a_new_row_travels_whole(mirror, sequence):
    words = words_of(mirror.set_rows([sequence], SLOTS, np.array([9])))

    header = {k: v for k, v in words.items() if k < PAGE_TABLE}
    assert header == {
        LAST_TOKEN: 11,
        NUM_TOKENS: 9,
        TEMPERATURE: int(np.float32(0.5).view(np.int32)),
        TOP_P: int(np.float32(0.25).view(np.int32)),
        SEED_LOW: -5,
        SEED_HIGH: -1,
        BAN: 1,
    }
    assert [words[PAGE_TABLE + column] for column in range(3)] == [30, 31, 32]
    assert len(words) == 7 + 3


def test_a_row_that_goes_on_sends_only_a_new_page(mirror, sequence):
    mirror.set_rows([sequence], SLOTS, np.array([7]))

    sent = []
    for num_tokens in range(8, 14):
        mirror.advance(SLOTS)
        sent.append(words_of(mirror.carry_rows(SLOTS, np.array([num_tokens]))))

    assert sent == [{}, {PAGE_TABLE + 2: 32}, {}, {}, {}, {PAGE_TABLE + 3: 33}]


def test_a_token_that_the_host_has_read_does_not_travel_back(mirror, slots, sequence):
    mirror.set_rows([sequence], SLOTS, np.array([6]))
    mirror.advance(SLOTS)
    mirror.learn(SLOTS, np.array([50]), np.array([int(BanSet.FIRST_ANSWER)]))
    slots.last_token[SLOT], slots.ban[SLOT] = 50, BanSet.ANSWER

    assert words_of(mirror.set_rows([sequence], SLOTS, np.array([7]))) == {}


def test_a_forced_token_and_a_new_ban_travel(mirror, slots, sequence):
    mirror.set_rows([sequence], SLOTS, np.array([6]))
    mirror.advance(SLOTS)
    mirror.learn(SLOTS, np.array([50]), np.array([int(BanSet.THINK)]))
    slots.last_token[SLOT], slots.ban[SLOT] = CLOSE, BanSet.FIRST_ANSWER

    words = words_of(mirror.set_rows([sequence], SLOTS, np.array([7])))

    assert words == {LAST_TOKEN: CLOSE, BAN: BanSet.FIRST_ANSWER}


def test_what_the_device_sampled_and_nobody_read_is_replaced(mirror, slots, sequence):
    mirror.set_rows([sequence], SLOTS, np.array([6]))
    mirror.advance(SLOTS)

    words = words_of(mirror.set_rows([sequence], SLOTS, np.array([7])))

    assert set(words) == {LAST_TOKEN, BAN}


@pytest.mark.parametrize("change", ["owner", "length", "forget"])
def test_a_row_that_does_not_go_on_travels_whole(mirror, sequence, change):
    mirror.set_rows([sequence], SLOTS, np.array([6]))
    mirror.advance(SLOTS)
    if change == "forget":
        mirror.forget(SLOTS)
    owner = object() if change == "owner" else sequence

    words = words_of(mirror.set_rows([owner], SLOTS, np.array([8 if change == "length" else 7])))

    assert len(words) == 7 + 2


def test_rows_of_a_batch_travel_together(mirror, slots):
    sequences: list[Any] = [object(), object()]
    slots.page_table[0] = range(60, 70)

    indices, words = mirror.set_rows(sequences, np.array([0, SLOT]), np.array([5, 12]))

    pages = {
        int(i): int(w) for i, w in zip(indices, words, strict=True) if i % STRIDE >= PAGE_TABLE
    }
    assert pages == {8: 60, 9: 61, **{SLOT * STRIDE + PAGE_TABLE + c: 30 + c for c in range(3)}}
