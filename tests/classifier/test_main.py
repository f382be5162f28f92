"""The commands, from a file of traces to a served classifier, and what they say when it fails."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from classifier.__main__ import main
from classifier.predictor import DifficultyClassifier
from classifier.traces.parquet import PartWriter
from ponder.cli import main as ponder
from ponder.trace_rows import to_row
from ponder.v1 import budget_pb2, reasoner_pb2
from ponder.v1.budget_pb2 import ThinkingStop
from tests.classifier.oracle import Question
from tests.classifier.traces.conftest import trace


@pytest.fixture(scope="module")
def traces(questions: list[Question], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "traces.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for question in questions:
            outcome = question.outcome()
            record = {
                "prompt": question.prompt,
                "model": "oracle",
                "thinking_tokens": outcome.thinking_tokens,
                "budget_tokens": outcome.budget_tokens,
                "stop": ThinkingStop.Name(outcome.stop),
                "family": question.family,
            }
            print(json.dumps(record), file=file)
    return path


def test_training_writes_a_file_that_serves_and_its_card(traces, tmp_path, capsys):
    out = tmp_path / "new" / "difficulty.onnx"

    assert main(["train", "--traces", str(traces), "--out", str(out), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    served = DifficultyClassifier.load(out)
    assert report["version"] == served.version
    assert report["parity"] <= 1e-5
    assert report["classifier"]["tau"] > report["length only"]["tau"]
    assert served.version in out.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["new.html", "folder"])
def test_training_writes_a_report_where_it_is_asked_for(traces, tmp_path, name):
    out, report = tmp_path / "difficulty.onnx", tmp_path / name

    assert main(["train", "--traces", str(traces), "--out", str(out), "--report", str(report)]) == 0

    page = (report if name.endswith(".html") else report / "report.html").read_text("utf-8")
    assert DifficultyClassifier.load(out).version in page


def test_without_matplotlib_a_report_is_refused_before_the_training(
    traces, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith("classifier.training_report.p")]:
        monkeypatch.delitem(sys.modules, name)
    out = tmp_path / "difficulty.onnx"
    arguments = ["--traces", str(traces), "--out", str(out), "--report", str(tmp_path / "r.html")]

    assert main(["train", *arguments]) == 1

    assert "--report needs matplotlib: pip install 'ponder[train]'" in capsys.readouterr().err
    assert not out.exists()


def test_training_on_an_export_is_training_on_its_lines(questions, traces, tmp_path, capsys):
    folder = tmp_path / "model=oracle"
    folder.mkdir()
    with PartWriter(folder / "part-000001.parquet", "oracle") as part:
        for number, question in enumerate(questions):
            outcome = question.outcome()
            record = trace(
                model="oracle",
                tier=budget_pb2.TIER_RESEARCH,
                tier_propensities=(),
                rule=reasoner_pb2.RULE_EXPLICIT_TIER,
                features=outcome.ids,
                thinking_tokens=outcome.thinking_tokens,
                budget_tokens=outcome.budget_tokens,
                stop=outcome.stop,
            )
            part.append(to_row(f"{number}-0", record, with_prompt=False))
    reports = []
    for source in (traces, tmp_path):
        out = tmp_path / "difficulty.onnx"
        assert main(["train", "--traces", str(source), "--out", str(out), "--json"]) == 0
        reports.append(json.loads(capsys.readouterr().out))

    assert reports[0]["classifier"]["log_loss"] == reports[1]["classifier"]["log_loss"]
    assert reports[0]["version"] == reports[1]["version"]


def test_evaluate_judges_a_file_beside_the_controls(traces, classifier_path, capsys):
    arguments = ["--classifier", str(classifier_path), "--traces", str(traces), "--json"]

    assert main(["evaluate", *arguments]) == 0

    report = json.loads(capsys.readouterr().out)
    assert {"classifier", "constant", "length only", "shuffled labels"} < set(report)


def test_show_predicts_more_for_the_harder_prompt(classifier_path, capsys):
    prompts = ["What is 2 + 2?", "Reach 47 using each of 3, 5, 6, 8, 9 and 11 once."]

    assert main(["show", "--classifier", str(classifier_path), "--json", *prompts]) == 0

    easy, hard = json.loads(capsys.readouterr().out)["predictions"]
    assert easy["tier"] == "simple"
    assert hard["median_tokens"] > 10 * easy["median_tokens"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--traces", "missing.jsonl"], "missing.jsonl: No such file"),
        (["train", "--redis", "redis://x"], "--model is missing"),
        (["train", "--redis", "nonsense", "--model", "m"], "--redis 'nonsense'"),
        (["train", "--redis", "unix:///no/redis.sock", "--model", "m"], "ConnectionError"),
        (["show", "--classifier", "missing.onnx"], "missing.onnx: No such file"),
    ],
    ids=["file", "model", "url", "unreachable", "classifier"],
)
def test_failure_is_one_line_and_a_status(arguments, message, capsys):
    assert main(arguments) == 1

    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_too_few_traces_are_refused_and_nothing_is_written(traces, tmp_path, capsys):
    few, out = tmp_path / "few.jsonl", tmp_path / "difficulty.onnx"
    with traces.open(encoding="utf-8") as lines:
        few.write_text("".join(next(lines) for _ in range(1000)), encoding="utf-8")

    assert main(["train", "--traces", str(few), "--out", str(out)]) == 1

    assert "collect more traces" in capsys.readouterr().err
    assert not out.exists()


def test_ponder_train_is_the_same_training(tmp_path):
    result = CliRunner().invoke(ponder, ["train", "--traces", str(tmp_path / "missing.jsonl")])

    assert result.exit_code == 1
    assert CliRunner().invoke(ponder, ["train", "--help"]).exit_code == 0
