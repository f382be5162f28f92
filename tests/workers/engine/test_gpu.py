"""The CUDA path on a device: `pytest -m gpu` runs this and the kernel tests, and is all of it.

None of this runs without a GPU. The checks of kernels/ by interpreter and by cross-compilation,
and those of test_pipeline.py on a deferred stream, are what stands in for it.
"""

import random

import pytest
import torch

pytestmark = pytest.mark.gpu

SAMPLED = {"temperature": 0.8, "top_p": 0.9}
BUCKETS = [1, 2, 4, 8]


@pytest.fixture
def make_cuda(make_engine):
    def make(variant="qwen3", dtype="float32", **overrides):
        return make_engine(variant, device="cuda", dtype=dtype, **overrides)

    return make


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.8}, SAMPLED])
@pytest.mark.parametrize("variant", ["llama-rope3-bias", "qwen2-ratio7", "qwen3-sliding"])
def test_the_tokens_are_those_of_the_cpu(
    make_engine, make_cuda, make_request, run, variant, sampling
):
    requests = [make_request(i, **sampling) for i in range(6)]

    expected, actual = run(make_engine(variant), *requests), run(make_cuda(variant), *requests)

    assert {k: v[:2] for k, v in actual.items()} == {k: v[:2] for k, v in expected.items()}


def test_preemption_changes_no_token(make_engine, make_cuda, make_request, run):
    requests = [make_request(i, prompt_ids=[1, 10 + i, 3], **SAMPLED) for i in range(6)]
    squeezed = make_cuda(num_pages=14, watermark=0.0, prefill_chunk_tokens=24)

    actual = run(squeezed, *requests)

    assert squeezed.scheduler.num_preemptions > 0
    expected = run(make_engine("qwen3"), *requests)
    assert {k: v[:2] for k, v in actual.items()} == {k: v[:2] for k, v in expected.items()}


class Snapshot:
    """The state that a step changes, to run it twice from the same."""

    def __init__(self, engine):
        cache, table = engine.runner.prefill.cache, engine.runner.rows.table
        self._tensors = [table.words, *cache._pages]
        self._copies = [tensor.clone() for tensor in self._tensors]

    def restore(self):
        for tensor, copy in zip(self._tensors, self._copies, strict=True):
            tensor.copy_(copy)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_replay_equals_eager_bit_for_bit_in_any_order(make_cuda, make_request, dtype):
    engine = make_cuda(dtype=dtype)
    for index in range(8):
        engine.add_request(make_request(index, temperature=0.8 * (index % 2), top_p=0.9))
    engine.step()
    engine.step()
    rows, snapshot = engine.runner.rows, Snapshot(engine)
    order = [(b, n) for b in BUCKETS for n in (False, True)] * 3
    random.Random(5).shuffle(order)
    rows._packet[:8] = torch.arange(8, dtype=torch.int32)

    for bucket, nucleus in order:
        snapshot.restore()
        rows.step(bucket, nucleus)
        eager = rows._output[:, :bucket].clone()
        snapshot.restore()
        rows._output.fill_(-1)
        rows.graphs.replay(bucket, nucleus=nucleus)

        assert rows.graphs.can_use_cuda_graph(bucket)
        assert torch.equal(rows._output[:, :bucket], eager)


@pytest.mark.parametrize("rows", range(1, 9))
def test_every_batch_below_a_bucket_leaves_the_padding_empty(make_cuda, make_request, run, rows):
    engine = make_cuda()

    run(engine, *(make_request(i) for i in range(rows)))

    table = engine.runner.rows.table
    assert table.num_tokens[table.dummy_slot] == 0
    assert not table.page_table[table.dummy_slot].any()


def test_freed_pages_may_hold_anything(make_engine, make_cuda, make_request, run):
    """A hundred requests through few pages, each overwritten as soon as it is free.

    With numbers: the eager prefill adds its mask to scores, which does not hide NaN.
    """
    engine = make_cuda(num_pages=60, max_running=4)
    requests = [make_request(i, prompt_ids=[1, 10 + i % 80, 3], **SAMPLED) for i in range(100)]
    release = engine.pool.release

    def poison(pages):
        pages = list(pages)
        release(pages)
        free = [page for page in pages if page in set(engine.pool._free)]
        for layer in range(engine.spec.num_layers):
            cache = engine.runner.prefill.cache.layer(layer)
            cache.keys[free] = 1e4
            cache.values[free] = 1e4

    engine.pool.release = poison
    actual = run(engine, *requests)

    expected = run(make_engine("qwen3"), *requests)
    assert {k: v[:2] for k, v in actual.items()} == {k: v[:2] for k, v in expected.items()}
