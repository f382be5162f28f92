import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.confidence import FILE_NAME, ConfidenceMap
from workers.errors import ConfidenceFileError

KNOTS = [(0.2, 0.1), (0.6, 0.3), (0.9, 1.0)]
SHARES = st.floats(0, 1)


def test_without_a_file_the_mean_is_taken_as_it_is(tmp_path):
    assert ConfidenceMap.load(tmp_path).probability(0.37) == 0.37


def test_a_map_runs_straight_between_its_knots_and_is_level_beyond():
    confidence_map = ConfidenceMap.of(KNOTS)

    means = (0.0, 0.2, 0.4, 0.6, 0.75, 0.9, 1.0)

    expected = (0.1, 0.1, 0.2, 0.3, 0.65, 1.0, 1.0)
    assert [confidence_map.probability(m) for m in means] == pytest.approx(expected)


@given(SHARES, SHARES)
def test_a_higher_mean_never_means_a_lower_probability(one, other):
    confidence_map = ConfidenceMap.of(KNOTS)
    low, high = sorted((one, other))

    assert confidence_map.probability(low) <= confidence_map.probability(high)


def test_a_file_is_read_as_it_was_written(tmp_path):
    (tmp_path / FILE_NAME).write_text(json.dumps({"knots": KNOTS}))

    assert ConfidenceMap.load(tmp_path) == ConfidenceMap.of(KNOTS)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"knots": 3}',
        '{"knots": [[0.2]]}',
        '{"knots": [[0.5, 0.2], [0.4, 0.3]]}',
        '{"knots": [[0.2, 0.5], [0.4, 0.3]]}',
        '{"knots": [[0.2, 1.5]]}',
        '{"knots": [["x", 0.5]]}',
    ],
)
def test_a_file_that_is_no_map_is_refused_by_name(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)

    with pytest.raises(ConfidenceFileError, match=FILE_NAME):
        ConfidenceMap.load(tmp_path)
