"""The paged decode attention against the same sums in float64."""

from dataclasses import replace

import pytest
import torch

from tests.workers.engine.kernels.conftest import DOT_DTYPES, assert_close, poisoned
from tests.workers.engine.kernels.shapes import SMALL
from workers.engine.kernels.reference import paged_attention

decode_attention = pytest.importorskip("workers.engine.kernels.decode_attention")

PAGE = 16
LENGTHS = [0, 1, PAGE - 1, PAGE, PAGE + 1, 0, 130, 319, 320]
# Processors that give these rows 16 spans, most of them empty; four, and one.
MANY_SPANS, FOUR_SPANS, ONE_SPAN = 132, 36, 9


def poison_unowned(cache, batch):
    """NaN wherever no row has a token: whatever is read from there shows."""
    page_size = cache.keys.shape[2]
    owned = torch.zeros(cache.keys.shape[0], page_size, dtype=torch.bool)
    for slot in batch.slots.tolist():
        for position in range(int(batch.table.num_tokens[slot])):
            owned[batch.table.page_table[slot, position // page_size], position % page_size] = True
    for pages in (cache.keys, cache.values):
        pages.transpose(1, 2)[~owned.to(pages.device)] = float("nan")


@pytest.fixture
def attend(make_batch, make_cache, random, device):
    """Run kernel and reference; returns both, (rows, heads, head_dim)."""

    def run(group=2, *, kv_heads=2, head_dim=32, dtype=torch.float32, window=None,
            lengths=LENGTHS, processors=FOUR_SPANS, page=PAGE):  # fmt: skip
        spec = replace(SMALL, num_heads=group * kv_heads, num_kv_heads=kv_heads, head_dim=head_dim)
        num_pages = 2 + sum(-(-length // page) for length in lengths)
        batch = make_batch(lengths, page, num_pages)
        cache = make_cache((num_pages, kv_heads, page, head_dim), dtype)
        poison_unowned(cache, batch)
        query = random(len(lengths), spec.num_heads, head_dim, dtype=dtype)
        kernel = poisoned(decode_attention.DecodeAttention, spec, len(lengths), processors, device)
        actual = poisoned(kernel, query, cache, batch, window)
        return actual, paged_attention(query.double(), cache, batch, window)

    return run


@pytest.mark.parametrize("group", [1, 2, 4, 7, 8])
def test_every_ratio_of_heads_attends_alike(attend, group):
    assert_close(*attend(group))


@pytest.mark.parametrize("processors", [FOUR_SPANS, ONE_SPAN])
@pytest.mark.parametrize("window", [None, 1, 33])
def test_the_spans_and_the_window_change_no_result(attend, processors, window):
    assert_close(*attend(processors=processors, window=window))


def test_many_spans_change_no_result(attend):
    assert_close(*attend(processors=MANY_SPANS))


@pytest.mark.parametrize("page", [4, 32])
def test_the_page_size_changes_no_result(attend, page):
    assert_close(*attend(page=page))


@pytest.mark.parametrize("head_dim", [8, 80])
def test_every_head_size_attends_alike(attend, head_dim):
    assert_close(*attend(lengths=[17, 40], head_dim=head_dim))


@DOT_DTYPES
def test_every_precision_is_as_good_as_its_rounding(attend, dtype):
    assert_close(*attend(7, dtype=dtype))


@pytest.mark.parametrize("processors", [MANY_SPANS, ONE_SPAN])
def test_rows_without_keys_are_zero(attend, processors):
    actual, _ = attend(processors=processors, lengths=[0, 5, 0])

    assert not actual[[0, 2]].any()
    assert actual[1].any()


@pytest.mark.parametrize("rows", range(1, 70))
def test_splits_fit_the_scratch_and_the_merge(rows):
    splits = decode_attention.choose_splits(rows, 8, 132)

    assert splits & (splits - 1) == 0
    assert 1 <= splits <= decode_attention.MAX_SPLITS
    assert rows < 32 or splits == 1
