"""The sampling kernels against sampler.py: the same tokens for the same seed and position."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.workers.engine.kernels.conftest import poisoned
from workers.engine import SpecialTokens
from workers.engine.kernels.reference import TorchKernels
from workers.engine.row_table import (
    BAN,
    LAST_TOKEN,
    NUM_TOKENS,
    SEED_HIGH,
    SEED_LOW,
    TEMPERATURE,
    TOP_P,
    RowBatch,
    RowTable,
)
from workers.engine.sampler import Sampler, uniform
from workers.engine.thinking import BanSet

sample = pytest.importorskip("workers.engine.kernels.sample")

TOKENS = SpecialTokens(eos_ids=frozenset({2}), think_open_id=3, think_close_id=4)
ROWS = 24
SEEDS = [0, 1, -1, -(2**63), 2**63 - 1, 2**31, -(2**31), 0x123456789ABCDEF]


def float_bits(values):
    return torch.tensor(values, dtype=torch.float32).view(torch.int32)


@pytest.fixture
def batch(device):
    """Rows with every seed, ban and temperature, and one of padding."""
    words = RowTable(ROWS, 1, torch.device("cpu")).words
    for row in range(ROWS):
        seed = torch.tensor([SEEDS[row % len(SEEDS)]]).view(torch.int32)
        words[row, SEED_LOW], words[row, SEED_HIGH] = seed[0], seed[1]
        words[row, NUM_TOKENS] = 1 + 37 * row
        words[row, BAN] = row % 3
        words[row, TEMPERATURE] = float_bits([[0.0, 0.7, 1.0, 2.5, 1e-6][row % 5]])[0]
        words[row, TOP_P] = float_bits([[0.3, 0.9, 1.0, 1e-6][row % 4]])[0]
    table = RowTable(ROWS, 1, device)
    table.words.copy_(words)
    slots = [*reversed(range(ROWS)), table.dummy_slot]
    return RowBatch(table, torch.tensor(slots, dtype=torch.int32, device=device))


def copy_of(batch: RowBatch) -> RowBatch:
    table = RowTable(ROWS, 1, batch.slots.device)
    table.words.copy_(batch.table.words)
    return RowBatch(table, batch.slots)


@pytest.mark.parametrize("nucleus", [False, True])
@pytest.mark.parametrize("vocabulary", [11, 2048, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_and_next_rows_equal_those_of_torch(
    batch, random, device, nucleus, vocabulary, dtype
):
    logits = random(ROWS + 1, vocabulary, dtype=dtype) * 3
    sampler, other = Sampler(TOKENS, device), copy_of(batch)
    unused: Any = None

    expected = TorchKernels(unused, unused, sampler).sample(logits, other, nucleus=nucleus)
    floors = sampler.nucleus_floors(
        logits, batch.word(BAN), batch.float_word(TEMPERATURE), batch.float_word(TOP_P)
    )
    tokens, logprobs, entropies = poisoned(
        sample.sample,
        logits,
        batch,
        sampler.banned_ids,
        floors if nucleus else None,
        sampler.close_id,
    )

    assert torch.equal(tokens, expected.tokens)
    assert torch.allclose(logprobs, expected.logprobs, atol=1e-5)
    assert torch.allclose(entropies, expected.entropies, atol=1e-5)
    assert torch.equal(batch.table.words[:ROWS], other.table.words[:ROWS])
    assert batch.table.num_tokens[batch.table.dummy_slot] == 0


def test_a_row_advances_by_one_token_and_leaves_thinking_with_its_marker(random, device):
    table = RowTable(3, 1, device)
    batch = RowBatch(table, torch.arange(4, dtype=torch.int32, device=device))
    table.words[:3, BAN] = torch.tensor([int(ban) for ban in BanSet], dtype=torch.int32)
    logits = torch.full((4, 8), -30.0, device=device)
    logits[0, 4] = 0.0  # </think>
    logits[1:, 6] = 0.0

    tokens = poisoned(
        sample.sample, logits, batch, Sampler(TOKENS, device).banned_ids, None, 4
    ).tokens

    assert tokens.tolist() == [4, 6, 6, 6]
    assert table.words[:, NUM_TOKENS].tolist() == [1, 1, 1, 0]
    assert table.words[:3, LAST_TOKEN].tolist() == [4, 6, 6]
    assert table.words[:3, BAN].tolist() == [BanSet.FIRST_ANSWER, BanSet.ANSWER, BanSet.ANSWER]


@pytest.mark.parametrize("edge", [0, 2047, 2048, 4999])
def test_the_only_possible_token_is_drawn_wherever_it_is(batch, device, edge):
    logits = torch.full((ROWS + 1, 5000), float("-inf"), device=device)
    logits[:, edge if edge not in (2, 3, 4) else 5] = 1.0

    tokens, logprobs, entropies = poisoned(
        sample.sample, logits, batch, Sampler(TOKENS, device).banned_ids, None, 4
    )

    assert set(tokens.tolist()) == {edge}
    assert logprobs.abs().max() < 1e-6
    assert entropies.abs().max() < 1e-6


def test_the_entropy_joins_blocks_of_any_height(batch, device):
    """Blocks without a possible token, far below the others, and level with them."""
    logits = torch.full((ROWS + 1, 7000), float("-inf"), device=device)
    logits[:, 2048] = 0.0
    logits[1, 5000:5004] = 0.0
    logits[2, 0] = 90.0
    logits[3, [0, 6999]] = -700.0
    logits[4] = 0.0
    sampler = Sampler(TOKENS, device)
    unused: Any = None
    expected = TorchKernels(unused, unused, sampler).sample(logits, copy_of(batch), nucleus=False)

    entropies = poisoned(sample.sample, logits, batch, sampler.banned_ids, None, 4).entropies

    assert torch.allclose(entropies, expected.entropies, atol=1e-5)


def test_nan_logits_show_in_log_probability_and_entropy(batch, device):
    logits = torch.zeros((ROWS + 1, 100), device=device)
    logits[5, 50] = float("nan")

    _, logprobs, entropies = poisoned(
        sample.sample, logits, batch, Sampler(TOKENS, device).banned_ids, None, 4
    )

    assert logprobs.isnan().nonzero().flatten().tolist() == [5]
    assert entropies.isnan().nonzero().flatten().tolist() == [5]


def test_the_words_hold_seed_and_position(batch):
    slot = SimpleNamespace(row=ROWS - 1 - 7)  # batch order is reversed

    assert batch.seeds[slot.row] == SEEDS[7]
    assert batch.positions[slot.row] == 37 * 7
    assert uniform(batch.seeds, batch.positions).min() > 0
