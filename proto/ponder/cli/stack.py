"""Runs the whole stack on this machine for as long as somebody uses it.

For `ponder up` and `ponder demo`. Which processes these are is in ponder/cli/processes.py.
"""

import asyncio
import errno
import fcntl
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from ponder.cli.child import LineSink
from ponder.cli.processes import HOST, Addresses, StackConfig, choose_addresses, model_dir, stages
from ponder.cli.stop_signals import Stopped, stop_signals
from ponder.cli.supervisor import Supervisor, first_of
from ponder.embedded_redis import EmbeddedRedis

T = TypeVar("T")

Use = Callable[[Addresses], Awaitable[T]]


class StackError(Exception):
    """The stack cannot start; the message says why and what to do."""


def run_stack(config: StackConfig, on_line: LineSink, use: Use[T]) -> T:
    """Starts the stack, returns what `use` returns, and stops it: router, workers, then Redis.

    Call it in the main thread. Raises StackError, EmbeddedRedisError, ChildExited, and Stopped
    on SIGINT or SIGTERM; nothing is left running in any case.
    """
    _check_model(config)
    _check_port(config.port)
    with ExitStack() as exits:
        exits.enter_context(_exclusive(config.data_dir))
        redis_url = config.redis_url
        if redis_url is None:
            redis_url = exits.enter_context(EmbeddedRedis(config.data_dir / "redis")).url
        addresses = choose_addresses(config.port, redis_url)
        return asyncio.run(_supervise(config, addresses, on_line, use))


async def _supervise(
    config: StackConfig, addresses: Addresses, on_line: LineSink, use: Use[T]
) -> T:
    supervisor = Supervisor(stages(config, addresses), on_line)

    async def work() -> T:
        await supervisor.start()
        return await supervisor.guard(use(addresses))

    with stop_signals(supervisor.hurry) as signals:
        async with supervisor:
            try:
                return await first_of(work(), signals.raise_when_stopped())
            except Stopped:
                on_line("ponder", "stopping; once more to hurry")
                raise


def _check_model(config: StackConfig) -> None:
    """The workers would say so too, but seconds later."""
    if not (model_dir(config) / "config.json").is_file():
        raise StackError(
            f"{model_dir(config)} holds no model (no config.json): give a directory with --model"
        )


def _check_port(port: int) -> None:
    """The router would say so too, but seconds later."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"is refused: {error.strerror}"
        raise StackError(f"port {port} {why}: choose another with --port, 0 for any") from error


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Two servers that append to the same files would spoil them."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise StackError(
            f"cannot write to {directory}: {error.strerror}; choose another with --data-dir"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"another stack runs in {directory}: ask that one, or choose another --data-dir"
            ) from error
        yield
