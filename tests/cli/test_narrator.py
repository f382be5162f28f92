"""What a stream looks like on a terminal, and what is left out elsewhere."""

import io
import sys

import pytest

from ponder.cli.narrator import Narrator
from ponder.v1.reasoner_pb2 import Progress, ReasonEvent
from tests.cli.conftest import decision

EVENTS = (
    ReasonEvent(decision=decision()),
    ReasonEvent(progress=Progress(thinking_tokens=100)),
    ReasonEvent(progress=Progress(thinking_tokens=200)),
    ReasonEvent(answer_delta="24"),
)


class Terminal(io.StringIO):
    """Says of itself that it is one."""

    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    narrator = Narrator(answer_to_stdout=True)
    for event in EVENTS:
        narrator.tell(event)
    narrator.end_lines()
    return stream.getvalue()


def test_a_terminal_shows_progress_in_one_line_that_is_cleared(monkeypatch, capsys):
    text = told(Terminal(), monkeypatch)

    lines = text.split("\r\x1b[K")
    assert ["thinking, 100 of 500 tokens" in lines[1], "200 of 500" in lines[2]] == [True, True]
    assert lines[3:] == [""]
    assert capsys.readouterr().out == "24\n"


def test_a_file_gets_neither_progress_nor_colour(monkeypatch):
    text = told(io.StringIO(), monkeypatch)

    assert "thinking, " not in text
    assert "\x1b" not in text
    assert text.startswith("moderate: up to 500")
