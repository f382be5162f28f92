"""`ponder up` as a user runs it: real Redis, router and workers on a tiny random model."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ponder.cli import main
from tests.workers.tiny_model import save_tiny_model

pytestmark = pytest.mark.e2e

START_S = 60.0
STOP_S = 30.0


@dataclass(frozen=True)
class RunningUp:
    """A `ponder up` that is ready."""

    process: subprocess.Popen[bytes]
    router: str
    redis_url: str

    def children(self) -> list[int]:
        """Process ids of everything it started."""
        found: list[str] = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread may end meanwhile
                found += (task / "children").read_text().split()
        return [int(pid) for pid in found]

    def ask(self, *arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(
            main, ["ask", *arguments, "--target", self.router, "--json", "--max-answer-tokens", "8"]
        )
        assert result.exit_code == 0, result.stderr
        reply: dict[str, Any] = json.loads(result.stdout)
        return reply


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny_model(directory)
    return directory


@contextmanager
def up(model_dir: Path, data_dir: Path) -> Iterator[RunningUp]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from ponder.cli import main; main()", "up", "--json", "--port", "0",
         "--model", str(model_dir), "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], START_S)
        assert readable, "not ready in time"
        addresses = json.loads(process.stdout.readline())
        yield RunningUp(process, addresses["router"], addresses["redis_url"])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until_gone(pids: list[int]) -> None:
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert select.select([handle], [], [], STOP_S)[0], f"process {pid} is still there"
        os.close(handle)


def test_it_answers_within_the_budget_and_stops_cleanly_on_ctrl_c(model_dir, tmp_path):
    with up(model_dir, tmp_path) as stack:
        children = stack.children()
        explicit = stack.ask("What is 1 + 1?", "--budget", "7", "--temperature", "0")
        thinking = stack.ask("What is 1 + 1?", "--tier", "complex", "--timeout", "30")

        stack.process.send_signal(signal.SIGINT)

        assert stack.process.wait(STOP_S) == 0
        wait_until_gone(children)
    assert len(children) == 4
    assert explicit["usage"]["thinking_tokens"] <= 7
    assert explicit["answer"]
    assert thinking["decision"]["pool"] == "POOL_THINKING"


def test_everything_it_started_ends_when_it_is_killed(model_dir, tmp_path):
    with up(model_dir, tmp_path) as stack:
        children = stack.children()

        stack.process.kill()

        wait_until_gone(children)
    assert len(children) == 4


def test_it_ends_with_one_line_when_a_process_dies(model_dir, tmp_path):
    with up(model_dir, tmp_path) as stack:
        children = stack.children()
        os.kill(children[-1], signal.SIGKILL)

        assert stack.process.wait(STOP_S) == 1
        wait_until_gone(children)
