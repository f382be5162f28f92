"""A bounded sample stands for the stream it was drawn from."""

import numpy as np
import pytest

from classifier.columns import Columns, in_columns
from classifier.dataset import Dataset
from classifier.reservoir import Reservoir
from tests.classifier.oracle import Question

MOST = (300, 60, 90)


@pytest.fixture(scope="module")
def stream(questions: list[Question]) -> list[Columns]:
    return list(in_columns(question.outcome() for question in questions))


def sampled(chunks: list[Columns], most=MOST, seed=0):
    reservoir = Reservoir(most, seed)
    for chunk in chunks:
        reservoir.add(chunk)
    return reservoir.sample()


def test_a_short_stream_is_kept_whole_and_in_order(stream):
    sample = sampled(stream, (10_000, 10_000, 10_000))

    whole = Columns.joined(stream)
    assert sample.rows.thinking_tokens.tolist() == whole.thinking_tokens.tolist()
    assert sample.splits.tolist() == whole.splits().tolist()
    assert (sample.weights == 1.0).all()


def test_no_split_keeps_more_than_it_may_and_its_rows_are_together(stream):
    sample = sampled(stream)

    assert np.bincount(sample.splits).tolist() == list(MOST)
    assert (np.diff(sample.splits) >= 0).all()


def test_the_longest_are_all_there_and_sums_are_those_of_the_stream(stream):
    whole = Columns.joined(stream)
    training = whole.rows(np.flatnonzero(whole.splits() == 0))
    sample = sampled(stream)
    kept = sample.splits == 0
    events, at_risk = training.need_vectors()
    kept_events, kept_at_risk = (part[kept] for part in sample.rows.need_vectors())
    scale = len(training) / kept.sum()

    deepest = at_risk.sum(axis=1).max()
    assert (kept_at_risk.sum(axis=1) == deepest).sum() == (at_risk.sum(axis=1) == deepest).sum()
    estimate = scale * (sample.weights[kept, np.newaxis] * kept_at_risk).sum(axis=0)
    assert estimate == pytest.approx(at_risk.sum(axis=0), rel=1e-9)
    stopped = scale * (sample.weights[kept, np.newaxis] * kept_events).sum()
    assert stopped == pytest.approx(events.sum(), rel=1e-9)


def test_every_row_has_the_same_chance_whenever_it_came(stream):
    """Over many orders of the chunks, the first is kept as often as the last."""
    rng, chunks = np.random.default_rng(1), stream[:3]  # of one size
    shares = []
    for trial in range(120):
        order = rng.permutation(len(chunks))
        marked = [_marked(chunks[index], place) for place, index in enumerate(order)]
        sample = sampled(marked, seed=trial)
        validation = sample.rows.families[sample.splits == 1]
        shares.append((validation == "0").mean())

    assert np.mean(shares) == pytest.approx(1 / 3, abs=0.03)


def _marked(chunk: Columns, place: int) -> Columns:
    fields = {name: getattr(chunk, name) for name in chunk.__slots__}
    return Columns(**(fields | {"families": np.full(len(chunk), str(place), dtype=object)}))


def test_a_data_set_of_a_long_stream_weighs_its_rows(stream):
    data = Dataset.of_columns(stream, MOST)

    training = data.split("train")
    assert len(data) == sum(MOST)
    assert training.weights.mean() == pytest.approx(1.0)
    assert training.weights.min() < 1.0 < training.weights.max()
    assert np.shares_memory(training.features, data.features)
