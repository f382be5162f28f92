"""`ponder` as its users run it: a process of its own for every command, beside the traffic."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import click

from ponder.cli import variables
from ponder.cli.log import say
from ponder.parent_death import dying_with_parent

_NUM_LAST_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.stdout)

    @property
    def last_line(self) -> str:
        """Of standard error: why it refused."""
        return next(iter(reversed(self.stderr.strip().splitlines())), "")


class Commands:
    """Runs them on one ledger."""

    def __init__(self, redis_url: str) -> None:
        # The processes share the cores of one machine with the workers.
        own = {variables.REDIS_URL: redis_url, "OMP_NUM_THREADS": "1"}
        self._environment = {**os.environ, **own}

    async def run(self, *arguments: object, expected: Sequence[int] = (0,)) -> Done:
        """Raises click.ClickException for a status that is not expected."""
        words = [str(argument) for argument in arguments]
        # A folder that is read several times is named once.
        say(f"ponder {' '.join(word for word, _ in groupby(words))}")
        process = await asyncio.create_subprocess_exec(
            *dying_with_parent((sys.executable, "-m", "ponder.cli", *words)),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
        assert process.returncode is not None
        done = Done(process.returncode, stdout.decode(), stderr.decode())
        if done.status not in expected:
            last = "\n".join((done.stderr or done.stdout).splitlines()[-_NUM_LAST_LINES:])
            raise click.ClickException(f"ponder {' '.join(words)}: status {done.status}\n{last}")
        return done
