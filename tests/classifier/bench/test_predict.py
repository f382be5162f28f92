"""`ponder bench predict`, on traces of a simulated model and on what it refuses."""

import json

import pytest
from click.testing import CliRunner

from classifier.bench.predict import predict
from classifier.bench.trace_figures import measure


def run(*arguments):
    return CliRunner().invoke(predict, [str(argument) for argument in arguments])


def test_traces_are_measured_whole_and_censored(traces):
    result = run("--traces", traces, "--json", "-")

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    figures, controls = report["figures"], report["controls"]
    assert figures["tau_in"] > controls["length only.tau_in"]
    assert abs(controls["shuffled labels.tau_in"]) < 0.2
    assert figures["tau_in"] > 0.3
    assert figures["coverage_error_pp"] < 5
    assert figures["censored_coverage_error_pp"] < 5
    assert figures["censored_censored_share"] >= 0.2 > figures["censored_share"]
    assert 0 < figures["classify_p50_ms"] <= figures["classify_p99_ms"]


def test_the_latest_requests_can_judge_wherever_they_stand_in_the_file(traces, tmp_path):
    """A file in the order in which requests end has all the long ones last."""
    lines = [json.loads(line) for line in traces.read_text(encoding="utf-8").splitlines()]
    numbered = [{**record, "id": index} for index, record in enumerate(lines)]
    numbered.sort(key=lambda record: record["thinking_tokens"])
    path = tmp_path / "ended.jsonl"
    path.write_text("\n".join(map(json.dumps, numbered)), encoding="utf-8")

    found = measure(path, by_order=True, censored=False, report=lambda line: None)

    assert found.evaluation.num_rows == 800
    assert found.coverage_error_pp < 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --general --data DIR, or --traces FILE"),
        (["--general"], "--general needs --data DIR"),
        (["--general", "--data", "missing"], "missing/prompts.jsonl: No such file"),
        (["--traces", "missing.jsonl"], "missing.jsonl: No such file"),
    ],
)
def test_what_is_missing_is_named(arguments, message):
    result = run(*arguments)

    assert result.exit_code != 0
    assert message in result.output
