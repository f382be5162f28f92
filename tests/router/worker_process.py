"""A small worker as a process of its own, for tests that stop or kill it. Prints its port."""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ponder.ledger import Ledger, LedgerConfig
from tests.router.small_worker import Script, SmallWorker, serving


@contextmanager
def running_worker(
    redis_url: str, *, hold_at: int = 0, crash: bool = False, port: int = 0
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address. It holds each request after so many thinking tokens, or crashes
    with the first.
    """
    options = ["--redis-url", redis_url, "--hold-at", str(hold_at), "--port", str(port)]
    options += ["--crash"] * crash
    command = [sys.executable, "-m", "tests.router.worker_process", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


async def _serve(redis_url: str, hold_at: int, crash: bool, port: int) -> None:
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    worker = SmallWorker("child", ledger, Script(hold_at=hold_at, crash=crash))
    async with serving(worker, port) as (server, bound):
        print(bound, flush=True)
        await server.wait_for_termination()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--hold-at", type=int, required=True)
    parser.add_argument("--crash", action="store_true")
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(**vars(parser.parse_args())))


if __name__ == "__main__":
    _main()
