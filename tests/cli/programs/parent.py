"""A parent for the supervisor's tests: starts one child, prints its process id, waits forever."""

import asyncio
import os
import sys

from ponder.cli.child import ChildSpec
from ponder.cli.supervisor import Supervisor


def pass_on(name: str, line: str) -> None:
    print(line, flush=True)


async def main() -> None:
    # The child tells its own process id, and would live for an hour.
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
    child = ChildSpec(
        name="child",
        command=(sys.executable, "-c", program),
        environment=os.environ,
        address=None,
    )
    async with Supervisor([[child]], pass_on) as supervisor:
        await supervisor.start()
        await asyncio.Event().wait()


asyncio.run(main())
