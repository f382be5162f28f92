"""The files that keep what Redis acknowledged, for as long as it may still forget it."""

import pytest

from ponder.journal import Journal

LIFE_S = 600.0
START_S = 1_800_000_000.0


class Clock:
    now_s = START_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(tmp_path, clock):
    return Journal(tmp_path, LIFE_S, clock=clock)


def test_everything_of_the_last_minutes_is_kept_in_order(journal, clock, make_settlement):
    for number in range(1_200):
        clock.now_s = START_S + number
        journal.append(make_settlement(request_id=f"r{number}"))

    kept = [int(record.request_id[1:]) for record in journal.records()]

    assert kept == list(range(kept[0], 1_200))
    assert 1_200 - 1.5 * LIFE_S <= kept[0] <= 1_200 - LIFE_S


def test_a_new_process_finds_what_the_killed_one_wrote(journal, tmp_path, clock, make_settlement):
    journal.append(make_settlement(request_id="whole"))
    (file,) = tmp_path.iterdir()
    with file.open("a") as torn:
        torn.write('{"half a rec')

    clock.now_s += 1
    again = Journal(tmp_path, LIFE_S, clock=clock)
    again.append(make_settlement(request_id="next"))

    assert [record.request_id for record in again.records()] == ["whole", "next"]


def test_it_does_not_fill_the_disk(tmp_path, clock, make_settlement):
    size = len(make_settlement().to_json()) + 100
    journal = Journal(tmp_path, LIFE_S, max_bytes=100 * size, clock=clock)
    for number in range(1_000):
        clock.now_s += 0.01
        journal.append(make_settlement(request_id=f"r{number}"))

    kept = [record.request_id for record in journal.records()]

    assert kept[-1] == "r999"
    assert 50 < len(kept) < 150
