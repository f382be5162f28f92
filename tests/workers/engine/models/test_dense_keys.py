"""What is kept from step to step is what gathering anew would find."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.engine.models.dense_keys import DenseKeys
from workers.engine.runner import Rectangle

NUM_SLOTS, MAX_TOKENS = 4, 40
VARIANTS = ("qwen3", "qwen3-sliding", "qwen2-half-sliding")
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("decode"), st.permutations(range(NUM_SLOTS)), st.integers(1, 9)),
        st.tuples(st.just("prefill"), st.integers(0, NUM_SLOTS - 1), st.integers(2, 9)),
        st.tuples(st.just("restart"), st.integers(0, NUM_SLOTS - 1), st.integers(1, 9)),
        st.tuples(st.just("fork"), st.integers(0, NUM_SLOTS - 1), st.integers(0, NUM_SLOTS - 1)),
    ),
    max_size=25,
)


class Workload:
    """Slots with pages and a length, and a cache whose contents are random numbers."""

    def __init__(self, engine) -> None:
        self.runner, self.pool = engine.runner, engine.pool
        self.spec, self.cache = engine.spec, engine.runner.cache
        self.keys = DenseKeys(self.spec, self.cache, min_bytes=0)
        self.random = torch.Generator().manual_seed(3)
        self.lengths = [0] * NUM_SLOTS
        self.pages: list[list[int]] = [[] for _ in range(NUM_SLOTS)]
        self.num_kept = 0

    def decode(self, slots, count):
        """`count` steps of the slots that have tokens and room."""
        for _ in range(count):
            rows = [s for s in slots if 0 < self.lengths[s] < MAX_TOKENS]
            if rows:
                self._forward(rows, 1)

    def prefill(self, slot, count):
        self._forward([slot], min(count, MAX_TOKENS - self.lengths[slot]))

    def restart(self, slot, count):
        """Another sequence takes the slot and, last in first out, the very same pages."""
        self.pool.release(reversed(self.pages[slot]))
        self.pages[slot], self.lengths[slot] = [], 0
        self._forward([slot], count)

    def fork(self, parent, child):
        """The child begins as the parent is, on a copy of the parent's last page."""
        if parent == child or not self.lengths[parent]:
            return
        self.pool.release(reversed(self.pages[child]))
        partial = self.lengths[parent] % self.cache.page_size != 0
        fork = self.pool.fork(self.pages[parent], tail_is_partial=partial)
        if fork.copy is not None:
            self.runner.copy_page(*fork.copy)
        self.pages[child], self.lengths[child] = fork.pages, self.lengths[parent]
        self._write_table(child)

    def fail(self, slots, num_layers):
        """A decode step of these slots that does not get beyond so many layers."""
        batch, shape = self._begin(slots, 1)
        for layer in range(num_layers):
            self._check(layer, batch, shape)

    def _forward(self, slots, count):
        if count < 1:
            return
        batch, shape = self._begin(slots, count)
        for layer in range(self.spec.num_layers):
            self._check(layer, batch, shape)
        for slot in slots:
            self.lengths[slot] += count

    def _begin(self, slots, count):
        for slot in slots:
            pages = -(-(self.lengths[slot] + count) // self.cache.page_size)
            self.pages[slot] += self.pool.allocate(pages - len(self.pages[slot]))
            self._write_table(slot)
        starts = np.array([self.lengths[s] for s in slots])
        shape = len(slots), count
        batch = self.runner._batch(
            Rectangle(np.array(slots), np.zeros(shape, np.int64), starts, np.full(shape[0], count))
        )
        self.keys.begin(batch.views, batch.write_rows, *shape)
        return batch, shape

    def _check(self, layer, batch, shape):
        view = batch.views[self.spec.windows[layer]]
        size = shape[0] * shape[1], 2 * self.spec.num_kv_heads, self.spec.head_dim
        new = torch.randn(size, generator=self.random)
        self.cache.store(layer, batch.write_rows, new)
        found = [part.clone() for part in self.keys.of(layer, view, new)]
        expected = self.cache.gather(layer, view.gather, shape[0])
        is_seen = (view.bias == 0).any(2)[:, :, :, None]  # (rows, 1, keys, 1)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a * is_seen, b * is_seen, atol=0, rtol=0)
        self.num_kept += sum(
            shape[0] - len(r._stale) for r in self.keys._rectangles.values() if len(r._pages)
        )

    def _write_table(self, slot):
        self.runner.slots.page_table[slot, : len(self.pages[slot])] = self.pages[slot]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=OPS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_kept_keys_equal_gathered_ones(make_engine, variant, operations):
    workload = Workload(make_engine(variant))

    for name, first, second in operations:
        getattr(workload, name)(first, second)


def test_a_second_fork_onto_the_pages_of_the_first_is_seen(make_engine):
    workload = Workload(make_engine("qwen3"))
    workload.prefill(0, 9)
    workload.fork(0, 1)
    workload.decode([0, 1], 2)
    first = workload.pages[1].copy()

    workload.fork(0, 1)
    assert workload.pages[1] == first  # or this test would show nothing
    workload.decode([0, 1], 3)


def test_a_steady_batch_gathers_nothing_anew(make_engine):
    workload = Workload(make_engine("qwen3"))
    for slot in range(NUM_SLOTS):
        workload.prefill(slot, 5 + slot)

    workload.decode(range(NUM_SLOTS), 1)
    after_one = workload.num_kept
    workload.decode(range(NUM_SLOTS), 20)

    num_layers = workload.spec.num_layers
    assert after_one == 0
    assert workload.num_kept == 20 * NUM_SLOTS * num_layers


def test_a_fork_or_a_prefill_of_one_row_leaves_the_others_as_they_are(make_engine):
    workload = Workload(make_engine("qwen3"))
    for slot in range(3):
        workload.prefill(slot, 5 + slot)
    workload.decode(range(3), 2)
    before = workload.num_kept

    workload.fork(0, 3)
    workload.decode(range(4), 1)
    workload.prefill(3, 2)
    workload.decode(range(4), 1)

    assert workload.num_kept - before == 2 * 3 * workload.spec.num_layers


@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_a_step_that_failed_between_layers_is_gathered_anew(make_engine, num_layers):
    workload = Workload(make_engine("qwen3"))
    workload.prefill(0, 9)
    workload.prefill(1, 7)
    workload.decode([0, 1], 2)

    workload.fail([1, 0], num_layers)
    workload.decode([1, 0], 1)


@pytest.mark.parametrize("limits", [{"min_bytes": 1 << 40}, {"min_bytes": 0, "max_bytes": 10}])
def test_outside_its_limits_nothing_is_kept(make_engine, limits):
    workload = Workload(make_engine("qwen3"))
    workload.keys = DenseKeys(workload.spec, workload.cache, **limits)
    workload.prefill(0, 5)

    workload.decode([0], 9)

    assert workload.num_kept == 0


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.8}], ids=["greedy", "sampled"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_keeping_changes_no_token(make_engine, make_request, run, variant, sampling):
    prompts = [{"prompt_ids": [1, 10 + i, 3]} for i in range(6)]
    requests = [make_request(i, **prompts[i], **sampling) for i in range(6)]
    small = {"num_pages": 14, "watermark": 0.0, "prefill_chunk_tokens": 24}
    gathering, keeping = make_engine(variant, **small), make_engine(variant, **small)
    decoder, cache = keeping.runner.decoder, keeping.runner.cache
    decoder._keys = DenseKeys(keeping.spec, cache, min_bytes=0)

    kept, gathered = run(keeping, *requests), run(gathering, *requests)

    assert {n: r[:2] for n, r in kept.items()} == {n: r[:2] for n, r in gathered.items()}
    assert keeping.scheduler.num_preemptions > 0
