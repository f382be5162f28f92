"""Which batch sizes are captured and replayed; capture itself is in test_gpu.py."""

import gc

import pytest

from workers.engine.graphs import GraphRunner, choose_buckets


class RecordedGraph:
    def __init__(self, work):
        work()
        self.replays = 0

    def replay(self):
        self.replays += 1


@pytest.fixture
def steps():
    return []


@pytest.fixture
def graphs(steps):
    runner = GraphRunner(lambda rows, nucleus: steps.append((rows, nucleus)), [1, 2, 4, 8])
    runner.capture(RecordedGraph)
    return runner


def test_the_largest_bucket_is_captured_first(graphs, steps):
    assert steps == [(b, n) for b in (8, 4, 2, 1) for n in (True, False)]


@pytest.mark.parametrize(("rows", "padded"), [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8)])
def test_a_batch_is_padded_to_its_bucket(graphs, rows, padded):
    assert graphs.can_use_cuda_graph(rows)
    assert graphs.pad_batch(rows) == padded


def test_a_batch_beyond_the_largest_bucket_runs_eagerly(graphs, steps):
    del steps[:]

    assert not graphs.can_use_cuda_graph(9)
    assert graphs.pad_batch(9) == 9
    graphs.replay(9, nucleus=False)

    assert steps == [(9, False)]


def test_a_captured_batch_is_replayed(graphs, steps):
    del steps[:]

    graphs.replay(4, nucleus=True)

    assert not steps


def test_before_the_capture_everything_runs_eagerly(steps):
    graphs = GraphRunner(lambda rows, nucleus: steps.append((rows, nucleus)), [1, 2])

    graphs.replay(graphs.pad_batch(2), nucleus=False)

    assert steps == [(2, False)]


def test_nothing_is_collected_during_the_capture():
    was_enabled = []
    graphs = GraphRunner(lambda rows, nucleus: was_enabled.append(gc.isenabled()), [1])

    graphs.capture(RecordedGraph)

    assert not any(was_enabled)
    assert gc.isenabled()


def test_collection_goes_on_after_a_capture_that_failed():
    def fail(rows, nucleus):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        GraphRunner(fail, [1]).capture(RecordedGraph)

    assert gc.isenabled()


@pytest.mark.parametrize(
    ("max_rows", "buckets"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (16, [1, 2, 4, 8, 16]),
        (64, [1, 2, 4, 8, 16, 24, 32, 48, 64]),
        (100, [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 100]),
    ],
)
def test_buckets_end_with_the_largest_batch(max_rows, buckets):
    assert choose_buckets(max_rows) == buckets
