"""`ponder tiers suggest` from a ledger, from files, and from bare lengths; and what it refuses."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from classifier.traces.exporter import Exporter
from ponder.bins import NEED_BIN_EDGES
from ponder.cli import main
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1.budget_pb2 import (
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    THINKING_STOP_UNSPECIFIED,
    ThinkingStop,
)
from router.config import RouterConfig
from router.tiers import TierTable, TierTables
from tests.classifier.tiers.mixtures import needs_around
from tests.classifier.traces.conftest import MODEL, trace

NEEDS = needs_around((40, 400, 4_000), count=240).astype(int).tolist()
BUDGET = 4_500


def spent(need: int):
    stop = THINKING_STOP_FINISHED if need <= BUDGET else THINKING_STOP_EXHAUSTED
    return {"thinking_tokens": min(need, BUDGET), "budget_tokens": BUDGET, "stop": stop}


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "traces.jsonl"
    records = [
        {"model": MODEL, **spent(need), "stop": ThinkingStop.Name(spent(need)["stop"])}
        for need in NEEDS
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def lengths(tmp_path: Path) -> Path:
    path = tmp_path / "lengths.csv"
    rows = (f"{i},{need}\n" for i, need in enumerate(NEEDS))
    path.write_text("id,thinking\n" + "".join(rows), encoding="utf-8")
    return path


def suggest(*arguments: str):
    return CliRunner().invoke(main, ["tiers", "suggest", *arguments])


def document(*arguments: str):
    result = suggest(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def fill(url: str, folder: Path) -> None:
    async def settle() -> None:
        ledger = Ledger.from_url(url, LedgerConfig(timeout_s=20))
        for number, need in enumerate(NEEDS):
            record = trace(request_id=f"r{number}", predicted_bin=None, **spent(need))
            await ledger.settle(record)
        await ledger.settle(trace(stop=THINKING_STOP_UNSPECIFIED))
        exporter = Exporter(folder, max_rows=100, with_prompts=False, advance=lambda: None)
        await exporter.export(ledger, MODEL)
        await ledger.close()

    asyncio.run(settle())


def test_every_source_of_the_same_traces_gives_the_same_proposal(lines, redis_url, tmp_path):
    folder = tmp_path / "export"
    fill(redis_url, folder)

    of_lines = document("--traces", str(lines))

    assert of_lines["num_requests"] == len(NEEDS)
    assert of_lines["num_known"] == sum(need <= BUDGET for need in NEEDS) < len(NEEDS)
    assert of_lines["unknown_share"] > 0
    assert document("--traces", str(folder)) == of_lines
    assert document("--redis-url", redis_url, "--model", MODEL) == of_lines


def test_lengths_are_needs_that_nothing_cut(lengths):
    found = document("--lengths", str(lengths), "--column", "thinking")

    assert found["num_known"] == len(NEEDS)
    assert found["modes"] == pytest.approx([40, 400, 4_000], rel=0.2)


def test_the_line_it_prints_configures_a_router(lengths):
    result = suggest("--lengths", str(lengths), "--column", "thinking")

    [line] = [line for line in result.output.splitlines() if line.startswith("ROUTER_TIER")]
    name, value = line.split("  #")[0].split("=")
    required = {
        "ROUTER_EASY_WORKERS": "",
        "ROUTER_THINKING_WORKERS": "127.0.0.1:1",
        "ROUTER_REDIS_URL": "redis://x",
        "ROUTER_SPOOL_DIR": "x",
    }
    budgets = RouterConfig.from_env({**required, name: value}).tiers_of("any").budgets
    assert f"WORKER_MAX_THINKING_BUDGET={budgets[1]}  # workers of pool easy" in result.output
    assert f"WORKER_MAX_THINKING_BUDGET={budgets[3]}  # workers of pool thinking" in result.output


def test_the_line_is_for_the_model_whose_traces_they_are(lines):
    result = suggest("--traces", str(lines))

    [line] = [line for line in result.output.splitlines() if line.startswith("ROUTER_TIER")]
    tables = TierTables.parse(line.split("  #")[0].removeprefix("ROUTER_TIER_BUDGETS="))
    assert [model for model, _ in tables.own] == [MODEL]
    assert tables.default == TierTable()


def test_budgets_at_the_edges_of_bins_when_asked_for(lengths):
    found = document("--lengths", str(lengths), "--column", "thinking", "--bin-edges")

    budgets = [tier["budget_tokens"] for tier in found["proposed"]["tiers"]]
    assert set(budgets) < set(NEED_BIN_EDGES)
    assert budgets[-1] == 10_000


def test_the_plot_is_drawn(lengths, tmp_path):
    plot = tmp_path / "tiers.svg"

    result = suggest("--lengths", str(lengths), "--column", "thinking", "--plot", str(plot))

    assert result.exit_code == 0
    assert "<svg" in plot.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("id,thinking\n1,12\n2,x\n", "lengths.csv:3: thinking is 'x'"),
        ("id,thinking\n1,-5\n", "lengths.csv:2: thinking is '-5'"),
        ("id,thinking\n1\n", "lengths.csv:2: thinking is None"),
        ("id,other\n1,2\n", "no column 'thinking'; it has id, other"),
        ("", "no column 'thinking'"),
        ("id,thinking\n1,2\n", "1 of 1 requests stopped by themselves"),
    ],
)
def test_lengths_that_are_none_are_named(tmp_path, contents, message):
    path = tmp_path / "lengths.csv"
    path.write_text(contents, encoding="utf-8")

    result = suggest("--lengths", str(path), "--column", "thinking")

    assert result.exit_code == 1
    [line] = result.output.splitlines()
    assert message in line


def test_options_that_do_not_go_together_are_refused(lines, lengths):
    for arguments, message in (
        (["--lengths", str(lengths)], "--lengths with --column"),
        (["--column", "thinking"], "--lengths with --column"),
        (["--lengths", str(lengths), "--column", "a", "--traces", str(lines)], "not with --traces"),
        ([], "whose traces: give --model"),
        (["--model", MODEL], "where the ledger is"),
    ):
        result = suggest(*arguments)
        assert (result.exit_code, message in result.output) == (2, True), result.output


def test_traces_of_no_use_are_told_in_one_line(lines, redis_url, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"model": "m", "thinking_tokens": 3}\n', encoding="utf-8")
    with lines.open("a", encoding="utf-8") as file:
        file.write('{"model": "second"}\n')

    for arguments, message in (
        (["--traces", str(broken)], "broken.jsonl:1: budget_tokens is None"),
        (["--traces", str(lines)], "choose one with --model"),
        (["--redis-url", redis_url, "--model", MODEL], "no traces of org/model-1 in the ledger"),
    ):
        result = suggest(*arguments)
        assert result.exit_code == 1
        [line] = result.output.splitlines()
        assert message in line
