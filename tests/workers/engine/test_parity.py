"""The engine computes what transformers computes."""

import numpy as np
import pytest
import torch

from workers.engine.runner import Rectangle

VARIANTS = (
    "llama",
    "llama-rope3-bias",
    "qwen2-ratio7",
    "qwen2-half-sliding",
    "qwen3",
    "qwen3-sliding",
)
OPEN = 3
NUM_TOKENS = 61  # many windows and pages long


def tokens_of(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(7, 97, NUM_TOKENS)


def reference_logits(model, rows):
    with torch.no_grad():
        return model(torch.tensor(np.stack([tokens_of(row) for row in rows]))).logits


def chunk_logits(engine, slots, start, end):
    """Logits (rows, end - start, vocabulary) of the same positions of several sequences."""
    ids = np.stack([tokens_of(slot)[start:end] for slot in slots])
    rows = np.array(slots)
    rectangle = Rectangle(rows, ids, np.full(len(rows), start), np.full(len(rows), end - start))
    with torch.no_grad():
        return engine.runner.decoder.logits(engine.runner.forward(rectangle))


@pytest.fixture
def engine_with_pages(make_engine):
    """An engine whose first two slots own pages for the whole text."""

    def make(variant: str):
        engine = make_engine(variant)
        table = engine.runner.slots.page_table
        for slot in (0, 1):
            table[slot, :16] = engine.pool.allocate(16)[::-1]  # order must not matter
        return engine

    return make


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("chunk", [1, 3, 7, 16, NUM_TOKENS])
def test_chunked_logits_equal_transformers(models, engine_with_pages, variant, chunk):
    engine = engine_with_pages(variant)
    expected = reference_logits(models(variant)[1], [0, 1])

    starts = range(0, NUM_TOKENS, chunk)
    parts = [chunk_logits(engine, [0, 1], s, min(s + chunk, NUM_TOKENS)) for s in starts]

    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_of_different_length_do_not_disturb_each_other(models, engine_with_pages, variant):
    engine = engine_with_pages(variant)
    expected = reference_logits(models(variant)[1], [0, 1])
    chunk_logits(engine, [0], 0, 40)
    table = engine.runner.slots.page_table
    table[1, 2:] = table[0, 9]  # stale: where row 1 is padding, its table names row 0's page
    ids = np.zeros((2, 9), np.int64)
    ids[0], ids[1, :5] = tokens_of(0)[40:49], tokens_of(1)[:5]

    rectangle = Rectangle(np.array([0, 1]), ids, np.array([40, 0]), np.array([9, 5]))
    with torch.no_grad():
        logits = engine.runner.decoder.logits(engine.runner.forward(rectangle))

    torch.testing.assert_close(logits[0], expected[0, 40:49], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[1, :5], expected[1, :5], atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_leaves_no_nan_behind(models, engine_with_pages, variant):
    engine = engine_with_pages(variant)
    engine.runner.slots.page_table[1, 2:] = 0
    start = np.array([0, 390])  # padding would pass the last position, and any window
    ids = np.full((2, 61), 9)

    with torch.inference_mode():
        states = engine.runner.forward(Rectangle(np.array([0, 1]), ids, start, np.array([61, 3])))

    assert states.isfinite().all()


@pytest.mark.parametrize("variant", ["qwen3", "qwen3-sliding"])
def test_a_fork_continues_like_its_parent(models, engine_with_pages, variant):
    engine = engine_with_pages(variant)
    expected = reference_logits(models(variant)[1], [0])
    table = engine.runner.slots.page_table
    chunk_logits(engine, [0], 0, 50)  # 12 full pages and a partial one

    fork = engine.pool.fork(table[0, :13].tolist(), tail_is_partial=True)
    engine.runner.copy_page(*fork.copy)
    table[2, :13], table[2, 13:16] = fork.pages, engine.pool.allocate(3)
    table[0, 13:16] = 0
    ids = tokens_of(0)[None, 50:]
    child = Rectangle(np.array([2]), ids, np.array([50]), np.array([NUM_TOKENS - 50]))
    with torch.no_grad():
        logits = engine.runner.decoder.logits(engine.runner.forward(child))

    torch.testing.assert_close(logits[0], expected[0, 50:], atol=1e-4, rtol=0)


def test_greedy_tokens_equal_those_of_transformers(models, make_engine, make_request, run):
    _, model = models("qwen3-sliding")
    request = make_request(5, thinking_budget=40)

    thinking, *_ = run(make_engine(), request)["r5"]

    assert len(thinking) == 40  # five windows long
    ids = torch.tensor([[*request.prompt_ids, *thinking]])
    with torch.no_grad():
        logits = model(ids).logits[0].clone()
        logits[:, OPEN] = float("-inf")
        expected = logits.argmax(-1)[len(request.prompt_ids) - 1 : -1]
    assert expected.tolist() == thinking
