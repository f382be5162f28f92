"""`ponder spans`: the spans of one request as a waterfall, in text and as a picture."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ponder.cli.spans import spans
from ponder.cli.waterfall import find_trace, rows
from ponder.cli.waterfall_svg import svg
from ponder.span_file import SpanRecord

MS = 1_000_000


def span(name: str, span_id: str, parent_id: str = "", **changes) -> SpanRecord:
    values = {
        "trace_id": "t1",
        "service": "ponder-router",
        "instance": "",
        "start_ns": 0,
        "end_ns": 10 * MS,
        "is_error": False,
        "attributes": {},
        **changes,
    }
    return SpanRecord(name=name, span_id=span_id, parent_id=parent_id, **values)


FAILED_OVER = [
    span("request", "a", end_ns=100 * MS, attributes={"ponder.request_id": "r-1"}),
    span("segment", "c", "a", start_ns=40 * MS, end_ns=90 * MS, attributes={"ponder.segment": 1}),
    span("segment", "b", "a", end_ns=40 * MS, is_error=True, attributes={"ponder.segment": 0}),
    span("work", "d", "c", start_ns=45 * MS, end_ns=80 * MS, service="ponder-worker"),
]


def written(path, found):
    path.write_text("".join(f"{one.to_json()}\n" for one in found) + "not a span\n")
    return str(path)


def test_each_span_stands_below_its_parent_in_the_order_of_time():
    found = rows(FAILED_OVER)

    assert [(row.span.span_id, row.depth, row.start_ms) for row in found] == [
        ("a", 0, 0.0),
        ("b", 1, 0.0),
        ("c", 1, 40.0),
        ("d", 2, 45.0),
    ]


@given(st.permutations(FAILED_OVER), st.sets(st.sampled_from("abcd")))
def test_no_span_is_left_out_whichever_are_missing(found, missing):
    left = [one for one in found if one.span_id not in missing]

    assert sorted(row.span.span_id for row in rows(left)) == sorted(one.span_id for one in left)


def test_a_request_is_found_by_its_id_its_trace_or_as_the_newest():
    later = span("request", "z", trace_id="t2", end_ns=200 * MS)
    found = [*FAILED_OVER, later]

    assert find_trace(found, None) == [later]
    assert find_trace(found, "r-1") == find_trace(found, "t1") == FAILED_OVER
    assert find_trace(found, "r-2") == []


def test_a_request_is_drawn_as_text_with_what_failed_marked(tmp_path):
    done = CliRunner().invoke(spans, ["--spans", written(tmp_path / "s.jsonl", FAILED_OVER)])
    lines = done.stdout.splitlines()

    assert done.exit_code == 0
    assert [line.split()[0] for line in lines] == ["request", "segment", "segment", "work"]
    assert ["!" in line for line in lines] == [False, True, False, False]


def test_the_picture_is_an_svg_with_a_bar_per_span(tmp_path):
    path = tmp_path / "request.svg"
    arguments = ["r-1", "--spans", written(tmp_path / "s.jsonl", FAILED_OVER), "--svg", str(path)]
    done = CliRunner().invoke(spans, arguments)
    picture = ElementTree.fromstring(path.read_text())

    assert done.exit_code == 0
    bars = [node for node in picture.iter() if node.get("rx")]
    assert len(bars) == len(FAILED_OVER)
    assert [bar.get("stroke") for bar in bars].count("#d62728") == 1


def test_words_from_a_span_are_no_markup():
    found = [span("request", "a", attributes={"ponder.tier": "<&>", "ponder.budget_tokens": 1})]

    assert ElementTree.fromstring(svg("a < b", rows(found))) is not None


@pytest.mark.parametrize("wanted", [(), ("r-9",)])
def test_a_file_without_the_request_says_so(tmp_path, wanted):
    done = CliRunner().invoke(spans, [*wanted, "--spans", written(tmp_path / "s.jsonl", [])])

    assert done.exit_code == 1
    assert "holds no request" in done.stderr


def test_a_request_as_json_has_every_span(tmp_path):
    path = written(tmp_path / "s.jsonl", FAILED_OVER)
    done = CliRunner().invoke(spans, ["--spans", path, "--json"])

    found = json.loads(done.stdout)
    assert [one["name"] for one in found] == ["request", "segment", "segment", "work"]
    assert [one["is_error"] for one in found] == [False, True, False, False]
