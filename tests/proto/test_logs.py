import json
import logging

import pytest

from ponder.logs import configure_logging


@pytest.fixture(autouse=True)
def root_logger_as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_lines_carry_the_named_values(capsys):
    configure_logging("info", "json")

    logging.getLogger("a.b").info("ended", extra={"fields": {"tokens": 7}})

    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["logger"], line["level"]) == ("ended", "a.b", "info")
    assert line["tokens"] == 7


def test_json_lines_carry_the_traceback(capsys):
    configure_logging("info", "json")

    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("a").exception("failed")

    assert "ValueError: odd" in json.loads(capsys.readouterr().err)["exception"]


def test_text_lines_end_with_the_named_values(capsys):
    configure_logging("warning", "text")

    logging.getLogger("a").info("too quiet")
    logging.getLogger("a").warning("ended", extra={"fields": {"tokens": 7}})

    assert capsys.readouterr().err.endswith("WARNING a: ended tokens=7\n")
