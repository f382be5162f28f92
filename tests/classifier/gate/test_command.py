"""`ponder classifier gate`: exit status, table, JSON and report."""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from classifier.gate.report import GateReport
from classifier.predictor import DifficultyClassifier
from ponder.cli import main
from ponder.ledger import Ledger
from ponder.v1.budget_pb2 import ThinkingStop
from tests.classifier.gate.conftest import MODEL
from tests.classifier.traces.conftest import trace

FEW = ("--min-rows", "1000", "--latest-share", "1")


@pytest.fixture(scope="module")
def traces(oracle, tmp_path_factory):
    """Uncut, as a collector writes them."""
    path = tmp_path_factory.mktemp("traces") / "traces.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, outcome in enumerate(oracle.outcomes):
            record = {
                "id": number,
                "features": outcome.ids,
                "model": MODEL,
                "thinking_tokens": outcome.thinking_tokens,
                "budget_tokens": outcome.budget_tokens,
                "stop": ThinkingStop.Name(outcome.stop),
                "family": outcome.family,
            }
            print(json.dumps(record), file=file)
    return path


@pytest.fixture(autouse=True)
def _even_clock(monkeypatch):
    """How fast this machine is must not decide."""
    ticks = itertools.count(step=1000)
    monkeypatch.setattr(time, "thread_time_ns", lambda: next(ticks))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["classifier", "gate", *map(str, arguments)])


def classifier(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["classifier", *map(str, arguments)])


def lines_of(result: Result) -> Sequence[str]:
    return [line.strip() for line in result.stdout.splitlines() if line.strip()]


def test_better_candidate_passes_with_status_0(better, champion, traces, tmp_path):
    report = tmp_path / "verdict.md"

    result = run(
        better,
        "--traces",
        traces,
        "--champion",
        champion,
        *FEW,
        "--report",
        report,
        "--ood",
        traces,
    )

    assert result.exit_code == 0, result.output
    assert lines_of(result)[-1] == "passed"
    assert "out of domain" in result.stdout
    assert report.read_text(encoding="utf-8").startswith("# Passed")


def test_worse_candidate_is_refused_with_status_1_and_reasons(better, champion, traces):
    result = run(champion, "--traces", traces, "--champion", better, *FEW, "--json")

    assert result.exit_code == 1
    report = GateReport.from_json(result.stdout)
    assert not report.passed
    assert report.check("sharpness").verdict == "refused"
    assert report.check("sharpness").remedy


def test_rows_by_default_are_more_than_a_few_traces_hold(better, champion, traces):
    result = run(better, "--traces", traces, "--champion", champion)

    assert result.exit_code == 1
    assert "held-out rows: only" in result.stdout
    assert "5000 are needed" in result.stdout


def test_ledger_is_read(better, champion, redis_url):
    async def settle() -> None:
        ledger = Ledger.from_url(redis_url)
        for number in range(3):
            await ledger.settle(trace(request_id=f"r{number}", model=MODEL))
        await ledger.close()

    asyncio.run(settle())
    result = run(better, "--redis", redis_url, "--champion", champion, "--json")

    assert result.exit_code == 1
    assert GateReport.from_json(result.stdout).check("held-out rows").figures["usable"] == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "where the ledger is"),
        (("--traces", "{traces}", "--model", "nobody"), "no usable traces of nobody"),
        (("--traces", "{traces}", "--since", "2100-01-01"), "no usable traces"),
        (("--traces", "{traces}", "--tier-budgets", "1,2,three,4"), "--tier-budgets"),
        (("--traces", "{traces}", "--tier-budgets", "1,2"), "--tier-budgets"),
    ],
)
def test_what_cannot_be_judged_says_why(better, champion, traces, arguments, reason, monkeypatch):
    for name in ("PONDER_REDIS_URL", "ROUTER_REDIS_URL", "WORKER_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    filled = [argument.format(traces=traces) for argument in arguments]

    result = run(better, "--champion", champion, *filled)

    assert result.exit_code in (1, 2)
    assert reason in result.output


def test_general_champion_needs_the_name_of_the_model(better, traces):
    general = Path(__file__).parents[3] / "classifier" / "general" / "difficulty.onnx"

    assert "--model" in run(better, "--traces", traces, "--champion", general).output

    result = run(
        better, "--traces", traces, "--champion", general, "--model", MODEL, *FEW, "--json"
    )
    report = GateReport.from_json(result.stdout)
    assert report.check("ranking").verdict == "passed"
    assert report.check("value").figures["difference"] > 0.0


@pytest.fixture
def store(redis_url, better, champion):
    """Puts the champion and the better one into the store; the champion serves."""
    for path in (champion, better):
        added = classifier("add", "--redis-url", redis_url, path)
        assert added.exit_code == 0, added.output
    serving = DifficultyClassifier.load(champion).version
    promoted = classifier("promote", "--redis-url", redis_url, serving, "--force")
    assert promoted.exit_code == 0, promoted.output
    return redis_url


def test_version_in_the_store_meets_the_one_that_serves_and_keeps_its_report(
    better, champion, traces, store
):
    version = DifficultyClassifier.load(better).version
    assert classifier("promote", "--redis-url", store, version).exit_code == 1

    result = run(version[:6], "--redis", store, "--traces", traces, *FEW, "--json")

    assert result.exit_code == 0, result.output
    report = GateReport.from_json(result.stdout)
    assert (report.candidate, report.champion) == (
        version,
        DifficultyClassifier.load(champion).version,
    )
    shown = json.loads(classifier("show", "--redis-url", store, version, "--json").stdout)
    assert shown["gate_report"] == report.as_dict()
    assert classifier("promote", "--redis-url", store, version).exit_code == 0


def test_refused_version_in_the_store_is_not_promoted(champion, better, traces, store):
    version, serving = (DifficultyClassifier.load(path).version for path in (champion, better))
    classifier("promote", "--redis-url", store, serving, "--force")

    assert run(version, "--redis", store, "--traces", traces, *FEW).exit_code == 1

    result = classifier("promote", "--redis-url", store, version)
    assert result.exit_code == 1
    assert "no passed report of the gate" in result.output


def test_file_meets_the_version_that_serves(better, champion, traces, store):
    result = run(better, "--redis", store, "--traces", traces, *FEW, "--json")

    report = GateReport.from_json(result.stdout)
    assert report.champion == DifficultyClassifier.load(champion).version
    shown = json.loads(classifier("show", "--redis-url", store, report.candidate, "--json").stdout)
    assert shown["gate_report"] is None


def test_version_that_is_not_in_the_store_is_named(traces, store):
    result = run("abcd", "--redis", store, "--traces", traces)

    assert result.exit_code == 1
    assert "no version abcd" in result.output
