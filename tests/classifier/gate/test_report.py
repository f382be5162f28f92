"""A verdict survives the journey through JSON, and is not believed when it contradicts itself."""

import json

import pytest

from classifier.gate.report import Check, GateReport

PASSED = Check.of("file", passed=True, remedy="mend it", candidate="abc", figures={"rows": 3})
REFUSED = Check.of("ranking", passed=False, remedy="train it", limit="0.01")
LEFT_OUT = Check(name="value", verdict="not judged")


def report(*checks: Check) -> GateReport:
    return GateReport(model="m", candidate="abc", champion="def", num_rows=1_200, checks=checks)


def test_passes_only_when_every_check_did():
    assert report(PASSED).passed
    assert not report(PASSED, REFUSED).passed
    assert not report(PASSED, LEFT_OUT).passed
    assert not report().passed


def test_json_round_trip():
    judged = report(PASSED, REFUSED, LEFT_OUT)

    assert GateReport.from_json(judged.to_json()) == judged
    assert "\n" not in judged.to_json()


def test_what_is_no_number_is_null():
    unknown = Check.of("value", passed=False, remedy="", figures={"low": float("nan"), "of": [1.0]})

    figures = json.loads(report(unknown).to_json())["checks"][0]["figures"]
    assert figures == {"low": None, "of": [1.0]}


@pytest.mark.parametrize(
    "change",
    [
        {"passed": True},
        {"report_version": 99},
        {"checks": [{"name": "file"}]},
        {"checks": None},
        {"surplus": 1},
    ],
)
def test_anything_else_is_refused(change):
    record = json.loads(report(PASSED, REFUSED).to_json()) | change

    with pytest.raises(ValueError, match="not a gate report"):
        GateReport.from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}"])
def test_no_report_at_all_is_refused(text):
    with pytest.raises(ValueError, match=r"not a gate report|Expecting value"):
        GateReport.from_json(text)


def test_markdown_says_what_to_do():
    text = report(PASSED, REFUSED).to_markdown()

    assert text.startswith("# Refused")
    assert "- ranking: train it" in text
    assert "mend it" not in text
    assert "- file: rows 3" in text


def test_check_is_found_by_name():
    assert report(PASSED, REFUSED).check("ranking") is REFUSED
    with pytest.raises(KeyError):
        report(PASSED).check("ranking")
