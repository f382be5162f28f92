import asyncio
import json
import logging

import pytest

from ponder.logs import configure_logging
from ponder.trace_context import work_for


@pytest.fixture(autouse=True)
def root_logger_as_it_was():
    work_for(())
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


TRACE = "0af7651916cd43dd8448eb211c80319c"


async def log_for(trace: str) -> None:
    work_for((("traceparent", f"00-{trace}-b7ad6b7169203331-01"),) if trace else ())
    logging.getLogger("a").info("ended", extra={"fields": {"tokens": 7}})


async def test_lines_of_a_task_name_its_trace(capsys):
    configure_logging("info", "json")
    await asyncio.gather(log_for(TRACE), log_for(""))
    traced, untraced = map(json.loads, capsys.readouterr().err.splitlines())
    configure_logging("info", "text")
    await asyncio.create_task(log_for(TRACE))

    assert (traced["trace_id"], traced["tokens"]) == (TRACE, 7)
    assert "trace_id" not in untraced
    assert capsys.readouterr().err.endswith(f"ended trace_id={TRACE!r} tokens=7\n")


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
