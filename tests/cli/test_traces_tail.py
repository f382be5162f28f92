"""`ponder traces tail` on a real Redis: the last requests, then each one as it ends."""

import asyncio
import json
import signal
import subprocess
import sys

import pytest
import redis
from click.testing import CliRunner

from ponder import keys
from ponder.bins import NUM_NEED_BINS
from ponder.cli import main
from ponder.cli.traces_tail import View, show_new, trace_line
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1 import budget_pb2
from tests.classifier.traces.conftest import MODEL, trace


@pytest.fixture
def fill(redis_url):
    """Settles records, one by one."""

    async def settle(changes):
        ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
        for change in changes:
            await ledger.settle(trace(**change))
        await ledger.close()

    return lambda *changes: asyncio.run(settle(changes))


def tail(redis_url: str, *arguments: str):
    command = ["traces", "tail", "--no-follow", *arguments]
    return CliRunner().invoke(main, command, env={"WORKER_REDIS_URL": redis_url})


def test_a_line_tells_what_happened_and_not_what_was_asked(redis_url, fill):
    fill({})

    result = tail(redis_url)

    assert result.exit_code == 0
    [line] = result.output.splitlines()
    for part in ("acme", "moderate", "300/500", "p50 176-250", "finished, stop", "esc 0"):
        assert part in line
    assert line.endswith("w1")
    assert "Reach" not in line


def test_the_prompt_is_shown_when_asked_for_on_one_line(redis_url, fill):
    fill({"prompt": 'Say "é"\nonce.'}, {"request_id": "r2", "prompt": None})

    kept, dropped = tail(redis_url, "--show-prompt").output.splitlines()

    assert kept.endswith(r'  "Say \"é\"\nonce."')
    assert dropped.endswith("no prompt")


def test_the_last_of_all_models_in_the_order_they_ended(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        for i in range(7):
            record = trace(request_id=f"r{i}", model=f"m{i % 2}")
            client.xadd(
                keys.traces(record.model), {"settlement": record.to_json()}, id=f"{i + 1}-0"
            )

    lines = tail(redis_url, "-n", "3", "--json").output.splitlines()

    assert [json.loads(line)["request_id"] for line in lines] == ["r4", "r5", "r6"]


def test_filters_choose_before_the_last_are_counted(redis_url, fill):
    fill(
        *({"request_id": f"r{i}", "tenant": f"t{i % 2}"} for i in range(8)),
        {"model": "other", "tenant": "t0"},
    )

    lines = tail(redis_url, "-n", "2", "--tenant", "t0", "--model", MODEL, "--json").output

    assert [json.loads(line)["request_id"] for line in lines.splitlines()] == ["r4", "r6"]


def test_json_lines_hold_neither_prompt_nor_features(redis_url, fill):
    fill({})

    row = json.loads(tail(redis_url, "--json").output)

    assert row["prompt"] is None
    assert "features" not in row
    assert (row["tier"], row["tier_propensities"]) == ("TIER_MODERATE", [0.0, 0.99, 0.01, 0.0])


def test_what_ends_later_is_shown_once(redis_url, fill, capsys):
    fill({"request_id": "r1"}, {"request_id": "r2"})
    view = View(tenant=None, show_prompt=False, as_json=True)

    async def follow() -> None:
        ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
        [_, (second, _)] = [pair async for pair in ledger.read_traces(MODEL)]
        seen = {MODEL: "0"}
        await show_new(ledger, seen, view)
        assert seen == {MODEL: second}
        await show_new(ledger, seen, view)
        await ledger.close()

    asyncio.run(follow())

    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ["r1", "r2"]


def test_it_follows_until_it_is_interrupted(redis_url, fill):
    fill({"request_id": "r1"})
    command = ["traces", "tail", "--redis-url", redis_url, "--json"]
    run = "import sys; from ponder.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", run, *command], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout as lines:
        first = json.loads(lines.readline())
        fill({"request_id": "r2"})
        second = json.loads(lines.readline())
        process.send_signal(signal.SIGINT)
        assert lines.read() == b""

    assert (first["request_id"], second["request_id"]) == ("r1", "r2")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("need_bin", "words"), [(0, "0-16"), (NUM_NEED_BINS, ">40000"), (None, "unknown")]
)
def test_the_predicted_bin_is_told_as_its_needs(need_bin, words):
    assert f"p50 {words}  " in trace_line(trace(predicted_bin=need_bin), show_prompt=False)


def test_no_ledger_and_no_traces_are_told_in_one_line(redis_url):
    missing = CliRunner().invoke(main, ["traces", "tail"], env={})
    gone = tail("unix:///nowhere/redis.sock")
    empty = tail(redis_url)

    assert (missing.exit_code, gone.exit_code, empty.exit_code) == (2, 1, 1)
    assert "give --redis-url, or set PONDER_REDIS_URL" in missing.output
    assert "the ledger does not answer" in gone.output
    assert "no traces yet" in empty.output


def test_a_url_with_a_password_is_not_repeated():
    result = tail("http://user:hunter2@host")

    assert result.exit_code == 2
    assert "hunter2" not in result.output


def test_enums_of_a_cancelled_request_are_words():
    line = trace_line(
        trace(
            stop=budget_pb2.THINKING_STOP_CANCELLED,
            finish_reason=budget_pb2.FINISH_REASON_CANCELLED,
        ),
        show_prompt=False,
    )

    assert "cancelled, cancelled" in line


def test_a_bin_of_an_older_version_is_not_told_as_one_of_todays():
    older = trace(predicted_bin=3, prior_hazards=(0.1,) * 9)

    assert "p50 unknown  " in trace_line(older, show_prompt=False)
