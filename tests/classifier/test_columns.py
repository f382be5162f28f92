"""What is computed for many rows at once is what is computed for each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.columns import SPLITS, Columns, Outcome
from classifier.dataset import Dataset
from classifier.errors import DatasetError
from classifier.features import FEATURE_VERSION, NUM_BUCKETS, NUM_LEXICAL, encode, vectorize
from ponder.bins import need_vectors, stopped_by_itself
from ponder.v1.budget_pb2 import ThinkingStop

STOPS = [value for value in ThinkingStop.values() if value]
ids = st.builds(
    lambda lexical, ngrams: (FEATURE_VERSION, *lexical, *sorted(ngrams)),
    st.lists(st.integers(0, 2**20), min_size=NUM_LEXICAL, max_size=NUM_LEXICAL),
    st.sets(st.integers(0, 2 * NUM_BUCKETS - 1), max_size=40),
)
outcomes = st.builds(
    Outcome,
    ids=ids | st.text(max_size=80).map(lambda text: tuple(encode(text).tolist())),
    thinking_tokens=st.integers(0, 50_000),
    budget_tokens=st.integers(0, 50_000),
    stop=st.sampled_from(STOPS),
    family=st.sampled_from(["", "countdown"]),
)


@given(st.lists(outcomes, min_size=1, max_size=8))
def test_a_data_set_says_of_each_row_what_is_said_of_it_alone(rows: list[Outcome]):
    data = Dataset.of(rows)

    for row, outcome in enumerate(rows):
        spent = outcome.thinking_tokens, outcome.budget_tokens, outcome.stop
        events, at_risk = need_vectors(*spent)
        assert data.events[row].tolist() == [bool(value) for value in events]
        assert data.at_risk[row].tolist() == [bool(value) for value in at_risk]
        assert data.need_known[row] == stopped_by_itself(outcome.stop)
        assert (data.features[row] == vectorize(outcome.ids)).all()
        assert data.families[row] == outcome.family
        assert data.splits[row] == SPLITS[int(Columns.of([outcome]).splits()[0])]
    assert (data.weights == 1.0).all()


@given(st.lists(outcomes, min_size=1, max_size=6), st.data())
def test_rows_can_be_taken_and_joined(rows: list[Outcome], data: st.DataObject):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    columns = Columns.of(rows)

    taken = columns.rows(np.array(chosen))
    joined = Columns.joined([columns, taken])

    expected = Columns.of([*rows, *(rows[index] for index in chosen)])
    for name in Columns.__slots__:
        assert getattr(joined, name).tolist() == getattr(expected, name).tolist()


@pytest.mark.parametrize(
    "wrong",
    [(), (0, *[0] * NUM_LEXICAL), (1, 2), (1, *[0] * NUM_LEXICAL, 2 * NUM_BUCKETS)],
    ids=["empty", "version", "short", "bucket"],
)
def test_ids_of_another_making_are_refused_as_one_row_is(wrong):
    with pytest.raises(ValueError, match="features h") as alone:
        vectorize(wrong)
    with pytest.raises(DatasetError) as among_others:
        Dataset.of([with_ids(tuple(encode("What is 2 + 2?").tolist())), with_ids(wrong)])
    assert str(among_others.value) == str(alone.value)


def test_an_id_of_more_than_32_bits_is_refused():
    with pytest.raises(DatasetError, match="32 bits"):
        Dataset.of([with_ids((2**32,))])


def with_ids(ids: tuple[int, ...]) -> Outcome:
    return Outcome(ids=ids, thinking_tokens=1, budget_tokens=50, stop=STOPS[0], family="")
