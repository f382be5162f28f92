"""Child processes, with real small programs: start, failure, order of stopping, a killed parent."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ponder.cli.child import ChildExited, ChildSpec
from ponder.cli.supervisor import Supervisor, first_of

PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "proto")}
DEADLINE_S = 20.0


class Log(list[tuple[str, str]]):
    """Remembers the lines, and lets a test wait for one."""

    def __init__(self) -> None:
        self._arrived = asyncio.Event()

    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))
        self._arrived.set()

    async def wait_for(self, entry: tuple[str, str]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while entry not in self:
                self._arrived.clear()
                await self._arrived.wait()


def program(text: str, *, name: str = "child", stop_timeout_s: float = DEADLINE_S) -> ChildSpec:
    return ChildSpec(
        name=name,
        command=(sys.executable, "-c", text),
        environment=ENVIRONMENT,
        address=None,
        stop_timeout_s=stop_timeout_s,
    )


def serving(name: str) -> ChildSpec:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = (sys.executable, str(PROGRAMS / "serving.py"), address)
    return ChildSpec(name=name, command=command, environment=ENVIRONMENT, address=address)


FOREVER = "import time; print('up', flush=True); time.sleep(3600)"


async def test_the_last_stage_starts_first_and_stops_last():
    stages = [[serving("router")], [serving("easy"), serving("thinking")]]

    async with asyncio.timeout(DEADLINE_S), Supervisor(stages, log := Log()) as children:
        await children.start()
        assert "ended" not in [line for _, line in log]

    started = [name for name, line in log if line == "starting"]
    ended = [name for name, line in log if line == "ended"]
    assert started[2] == ended[0] == "router"
    assert sorted(started[:2]) == sorted(ended[1:]) == ["easy", "thinking"]


async def test_a_child_that_dies_at_start_is_told_with_its_last_line():
    dies = program("import sys; print('a log line'); sys.exit('WORKER_POOL is not known')")
    never_serves = replace(program(FOREVER), address="127.0.0.1:1")

    async with Supervisor([[dies, never_serves]], Log()) as children:
        with pytest.raises(ChildExited, match="exited with status 1: WORKER_POOL is not known"):
            await children.start()


async def test_a_child_that_dies_later_cancels_the_work():
    async with Supervisor([[program(FOREVER)]], log := Log()) as children:
        await children.start()
        await log.wait_for(("child", "up"))
        work = asyncio.ensure_future(asyncio.Event().wait())
        (pid,) = children.pids

        os.kill(pid, signal.SIGKILL)

        with pytest.raises(ChildExited, match="was killed by signal 9"):
            await children.guard(work)
    assert work.cancelled()


async def test_a_program_that_does_not_exist_is_told_and_the_others_are_stopped():
    missing = ChildSpec(name="x", command=("/no/such/program",), environment={}, address=None)
    never_serves = replace(program(FOREVER), address="127.0.0.1:1")

    async with Supervisor([[never_serves, missing]], Log()) as children:
        with pytest.raises(ChildExited, match=r"x exited .*: cannot run /no/such/program: No such"):
            await children.start()

    assert len(children.pids) == 2
    assert not any(map(is_alive, children.pids))


async def test_a_child_that_ignores_the_request_to_stop_is_killed():
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + FOREVER

    async with Supervisor([[program(deaf, stop_timeout_s=0.2)]], log := Log()) as children:
        await children.start()
        await log.wait_for(("child", "up"))

    assert ("child", "did not stop in time, killed") in log
    assert not any(map(is_alive, children.pids))


async def test_output_of_any_kind_is_passed_on():
    writes = r"import os; os.write(1, b'a\xff\n' + b'b' * 200_000 + b'\n\nlast')"

    async with Supervisor([[program(writes)]], log := Log()) as children:
        await children.start()
        await log.wait_for(("child", "last"))

    lines = [line for _, line in log]
    assert lines[0] == "a\N{REPLACEMENT CHARACTER}"
    assert "".join(lines[1:-1]) == "b" * 200_000


async def test_no_child_outlives_a_parent_that_is_killed():
    parent = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAMS / "parent.py", env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = os.pidfd_open(int(await parent.stdout.readline()))

    parent.kill()

    assert await asyncio.to_thread(select.select, [child], [], [], DEADLINE_S) == ([child], [], [])
    os.close(child)
    await parent.wait()


async def test_first_of_returns_the_work_and_cancels_the_rest():
    other = asyncio.ensure_future(asyncio.Event().wait())

    assert await first_of(asyncio.sleep(0, "done"), other) == "done"
    assert other.cancelled()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
