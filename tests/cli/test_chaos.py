"""`ponder chaos`: what it calls a broken promise, and a small run of all of it."""

import asyncio
import json
import subprocess
import sys
from random import Random

import pytest

from ponder.cli.chaos.proxy import Proxy
from ponder.cli.chaos.report import Report, Result
from ponder.cli.chaos.scenarios import SCENARIOS

PONDER = (sys.executable, "-c", "from ponder.cli import main; main()")
TIMEOUT_S = 240
WHOLE = {
    "reports": 10,
    "failed_with_alternative": 0,
    "lost_reports": 0,
    "doubled_reports": 0,
    "restated_reports": 0,
    "unbalanced_books": 0,
    "reconciled_s": 1.0,
}


def result(**figures: float) -> Result:
    return Result(scenario="kills", seconds=1.0, figures=WHOLE | figures, details=[])


@pytest.mark.parametrize(
    ("name", "kept", "broken"),
    [
        ("failed_with_alternative", 0, 1),
        ("lost_reports", 0, 1),
        ("doubled_reports", 0, 1),
        ("restated_reports", 0, 1),
        ("unbalanced_books", 0, 1),
        ("hung_worker_seconds", 3.0, 3.01),
        ("drain_errors", 0, 1),
        ("redis_gone_failures", 0, 1),
        ("retry_amplification", 1.1, 1.11),
        ("reconciled_s", 30.0, 30.5),
    ],
)
def test_each_promise_can_be_broken(name, kept, broken):
    assert result(**{name: kept}).broken() == []
    (line,) = result(**{name: broken}).broken()
    assert name in line


def test_the_report_adds_up_all_scenarios(tmp_path):
    report = Report(
        seed=3,
        workers="stand-ins",
        results=[result(kills=3, hung_worker_seconds=2.0), result(hung_worker_seconds=2.5)],
    )
    report.write(tmp_path / "chaos.json")

    document = json.loads((tmp_path / "chaos.json").read_text())
    assert document["totals"]["reports"] == 20
    assert (document["totals"]["kills"], document["totals"]["hung_worker_seconds"]) == (3, 2.5)
    assert "| hung_worker_seconds | 2.5 | at most 3 |" in (tmp_path / "chaos.md").read_text()


async def test_the_proxy_loses_the_reply_of_what_was_done():
    received = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            received.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Proxy(lambda: asyncio.open_connection("127.0.0.1", port), Random(0)) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        proxy.loss = 1.0
        writer.write(b"two\n")
        assert await reader.read() == b""
        writer.close()
    server.close()

    assert (received, proxy.num_lost) == ([b"one\n", b"two\n"], 1)


@pytest.mark.e2e
def test_every_scenario_keeps_every_promise(tmp_path):
    done = subprocess.run(
        [*PONDER, "chaos", "--quick", "--json", "--out", str(tmp_path / "chaos.json")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)
    document = json.loads((tmp_path / "chaos.json").read_text())
    assert [one["scenario"] for one in document["results"]] == list(SCENARIOS)
    assert totals["kills"] >= 3
    assert totals["reports"] > 500
    assert totals["lost_reports"] == totals["doubled_reports"] == 0
