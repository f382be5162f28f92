"""Exports, and kills itself as SIGKILL does after so many traces: URL FOLDER MODEL ROWS TRACES."""

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

from classifier.traces.exporter import Exporter
from ponder.ledger import Ledger


async def main() -> None:
    url, folder, model, rows, last = sys.argv[1:]
    traces = count(1)

    def advance() -> None:
        if next(traces) == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    exporter = Exporter(Path(folder), max_rows=int(rows), with_prompts=True, advance=advance)
    await exporter.export(Ledger.from_url(url), model)


asyncio.run(main())
