"""A trace as a flat row: nothing is lost, and the prompt goes only where it was asked for."""

import pytest

from ponder.trace_rows import TRACE_FIELDS, from_row, to_row


def test_a_trace_survives_being_a_row(make_settlement):
    trace = make_settlement()

    row = to_row("7-0", trace, with_prompt=True)

    assert list(row) == [field.name for field in TRACE_FIELDS]
    assert row["trace_id"] == "7-0"
    assert from_row(row) == trace


def test_the_prompt_is_left_out_unless_asked_for(make_settlement):
    row = to_row("7-0", make_settlement(), with_prompt=False)

    assert row["prompt"] is None
    assert from_row(row) == make_settlement(prompt=None)


def test_a_row_from_before_predicted_misses_is_read(make_settlement):
    row = to_row("7-0", make_settlement(), with_prompt=True)
    del row["predicted_miss"]

    assert from_row(row) == make_settlement(predicted_miss=None)


def test_only_what_may_be_missing_is_ever_null(make_settlement):
    bare = make_settlement(predicted_bin=None, predicted_miss=None, prompt=None)
    row = to_row("7-0", bare, with_prompt=True)

    nulls = {name for name, value in row.items() if value is None}
    assert nulls == {field.name for field in TRACE_FIELDS if field.nullable}


@pytest.mark.parametrize("change", [{"stop": "NONE"}, {"features": None}, {"tenant": ""}])
def test_a_row_that_is_no_trace_is_refused(make_settlement, change):
    row = to_row("7-0", make_settlement(), with_prompt=True) | change

    with pytest.raises(ValueError, match=r".+"):
        from_row(row)
