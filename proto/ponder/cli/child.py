"""One child process: started to die with its parent, its output passed on line by line."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from ponder.parent_death import dying_with_parent

LineSink = Callable[[str, str], None]
"""Takes the name of a child and one line that it wrote, without the line break."""

_MAX_LINE_BYTES = 64 << 10
# A grandchild may hold the pipe open after the child has ended.
_LAST_OUTPUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One process. `environment` is all of it. `address` is where its gRPC health is asked; without
    one it counts as serving at once.

    It is killed when it has not ended `stop_timeout_s` after it was asked to.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    address: str | None
    stop_timeout_s: float = 40.0


class ChildExited(Exception):
    """A child ended that nobody had asked to end."""

    def __init__(self, name: str, status: int, last_line: str) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        super().__init__(f"{name} {how}" + (f": {last_line}" if last_line else ""))


class Child:
    """A running process. Made by Child.start."""

    def __init__(
        self, spec: ChildSpec, process: asyncio.subprocess.Process, on_line: LineSink
    ) -> None:
        self._spec = spec
        self._process = process
        self._on_line = on_line
        self._last_line = ""
        self._output = asyncio.create_task(self._pass_output_on())

    @classmethod
    async def start(cls, spec: ChildSpec, on_line: LineSink) -> Self:
        """Returns when it was started; it may end at once, for example when it cannot be run."""
        process = await asyncio.create_subprocess_exec(
            *dying_with_parent(spec.command),
            env=spec.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C in the terminal reaches us alone; we stop the children in order.
            start_new_session=True,
        )
        return cls(spec, process, on_line)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def raise_when_exited(self) -> None:
        """Never returns. Raises ChildExited."""
        status = await self._process.wait()
        await asyncio.wait([self._output], timeout=_LAST_OUTPUT_S)
        raise ChildExited(self._spec.name, status, self._last_line)

    async def wait(self) -> None:
        """Returns when it has ended, for a child that somebody else ends."""
        await self._process.wait()
        await asyncio.wait([self._output], timeout=_LAST_OUTPUT_S)
        self._output.cancel()

    def terminate(self) -> None:
        """Asks it to end; asking twice tells it to hurry."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """Returns when it has ended, of itself or killed."""
        self.terminate()
        try:
            async with asyncio.timeout(self._spec.stop_timeout_s):
                await self._process.wait()
        except TimeoutError:
            self._on_line(self._spec.name, "did not stop in time, killed")
            self._process.kill()
        await self.wait()

    async def _pass_output_on(self) -> None:
        assert self._process.stdout is not None
        async for line in _lines(self._process.stdout):
            if line.strip():
                self._last_line = line
            self._on_line(self._spec.name, line)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    rest = b""
    while chunk := await stream.read(_MAX_LINE_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
