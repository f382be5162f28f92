"""The file that keeps settlements while Redis is away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.settlement import Settlement
from ponder.spool import Spool, SpoolFull, SpoolInUse


def drain(spool: Spool) -> list[Settlement]:
    records = []
    while found := spool.next_records(2):
        records += found
        spool.done(len(found))
    return records


def test_records_come_out_in_order_and_the_file_is_cleared(tmp_path, make_settlement):
    records = [make_settlement(request_id=f"r{i}") for i in range(3)]
    with Spool(tmp_path) as spool:
        for record in records:
            spool.append(record)

        assert drain(spool) == records
        assert spool.is_empty
    assert (tmp_path / "settlements.jsonl").read_bytes() == b""


def test_records_added_while_replaying_are_replayed_too(tmp_path, make_settlement):
    first, second = (make_settlement(request_id=name) for name in "ab")
    with Spool(tmp_path) as spool:
        spool.append(first)
        assert spool.next_records(9) == [first]
        spool.append(second)
        spool.done()

        assert drain(spool) == [second]
        spool.append(first)
        assert drain(spool) == [first]


def test_a_restart_goes_on_after_what_was_done(tmp_path, make_settlement):
    records = [make_settlement(request_id=name) for name in "abc"]
    with Spool(tmp_path) as spool:
        for record in records:
            spool.append(record)
        spool.done()

    with Spool(tmp_path) as spool:
        assert drain(spool) == records[1:]
    with Spool(tmp_path) as spool:
        assert spool.is_empty
        spool.append(records[0])
        assert drain(spool) == records[:1]


@pytest.mark.parametrize("offset", ["", "-1", "7", "99999999", "garbage"])
def test_an_offset_that_cannot_be_right_replays_everything(tmp_path, make_settlement, offset):
    records = [make_settlement(request_id=name) for name in "ab"]
    with Spool(tmp_path) as spool:
        for record in records:
            spool.append(record)
    (tmp_path / "settlements.offset").write_text(offset)

    with Spool(tmp_path) as spool:
        assert drain(spool) == records


@given(num_bytes=st.integers(1, 200))
def test_a_torn_last_line_is_dropped_and_the_rest_survives(
    tmp_path_factory, make_settlement, num_bytes: int
):
    directory, record = tmp_path_factory.mktemp("spool"), make_settlement()
    line = record.to_json().encode()
    (directory / "settlements.jsonl").write_bytes(line + b"\n" + line[:num_bytes])

    with Spool(directory) as spool:
        spool.append(record)
        assert drain(spool) == [record, record]


def test_an_unreadable_line_is_set_aside_and_does_not_stop_the_rest(tmp_path, make_settlement):
    record = make_settlement()
    good = record.to_json() + "\n"
    (tmp_path / "settlements.jsonl").write_text("garbage\n" + good + "more\n" + good)

    with Spool(tmp_path) as spool:
        assert drain(spool) == [record, record]
    assert (tmp_path / "rejected.jsonl").read_text() == "garbage\nmore\n"


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path, make_settlement):
    record = make_settlement()
    with Spool(tmp_path, max_bytes=len(record.to_json().encode()) + 1) as spool:
        spool.append(record)

        with pytest.raises(SpoolFull):
            spool.append(record)
        assert drain(spool) == [record]


def test_a_directory_has_one_user_at_a_time(tmp_path):
    with Spool(tmp_path), pytest.raises(SpoolInUse, match="another process"):
        Spool(tmp_path)
    Spool(tmp_path).close()
