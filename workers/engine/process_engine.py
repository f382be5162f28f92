"""An engine in a process of its own, where nobody competes with its steps for the interpreter.

Commands go to the child by one pipe and events come back by another. The child lives as long as
its commands may come: it ends at once, in the middle of a step if need be, when the parent closes
that pipe or dies.
"""

import atexit
import contextlib
import logging
import multiprocessing
import os
import pickle
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue

from workers.engine.async_engine import AsyncEngine
from workers.engine.engine_loop import Commands, Engine, EngineLoop
from workers.engine.errors import EngineStopped
from workers.engine.metrics import EngineLoad
from workers.engine.step_watch import PATIENCE_S

logger = logging.getLogger(__name__)

_EXIT_TIMEOUT_S = 10.0  # then it is killed


@dataclass(frozen=True, slots=True)
class Fault:
    """What ended the loop."""

    text: str


class ProcessEngine(AsyncEngine):
    """Starts a process that builds the engine and steps it."""

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        prepare: Callable[[], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Wait until the child has called `prepare` and `make_engine`, both pickled.

        Raises what they raise, and EngineStopped when the process ends before.
        """
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        commands, self._command_pipe = context.Pipe(duplex=False)
        self._event_pipe, events = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_serve, args=(make_engine, prepare, commands, events), daemon=True
        )
        self._process.start()
        commands.close()
        events.close()  # else the end of the child's would not show
        atexit.register(self._command_pipe.close)  # before multiprocessing waits for the child
        super().__init__(self._wait_until_loaded(), patience_s)
        # A pipe may be full, and the event loop must not wait for it.
        threading.Thread(target=self._send_commands, name="engine-commands", daemon=True).start()

    def _wait_until_loaded(self) -> EngineLoad:
        try:
            loaded: EngineLoad | Exception = self._event_pipe.recv()
        except EOFError:
            raise EngineStopped(f"while it loaded, {self._describe_end()}") from None
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    def _send_commands(self) -> None:
        with contextlib.suppress(BrokenPipeError), self._command_pipe:
            while (command := self._commands.get()) is not None:
                self._command_pipe.send(command)

    def _run(self) -> None:
        with contextlib.suppress(EOFError):
            while not isinstance(event := self._event_pipe.recv(), Fault):
                self._report(event)
            self._fail_engine(f"the engine failed: {event.text}")
            return
        if not self._stopping:
            self._fail_engine(self._describe_end())

    def _wait_for_end(self) -> None:
        self._process.join(_EXIT_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        super()._wait_for_end()
        atexit.unregister(self._command_pipe.close)

    def _describe_end(self) -> str:
        self._process.join(_EXIT_TIMEOUT_S)
        return f"the engine's process ended with exit code {self._process.exitcode}"


# In the child


def _serve(
    make_engine: Callable[[], Engine],
    prepare: Callable[[], None],
    command_pipe: Connection,
    event_pipe: Connection,
) -> None:
    """All that the process does."""
    commands: Commands = SimpleQueue()
    threading.Thread(target=_receive, args=(command_pipe, commands), daemon=True).start()
    try:
        prepare()
        engine = make_engine()
    except Exception as error:  # noqa: BLE001 - the parent raises it
        event_pipe.send(_portable(error))
        return
    event_pipe.send(engine.load())
    try:
        EngineLoop(engine, commands, event_pipe.send).run()
    except Exception as error:
        logger.exception("the engine loop failed")
        event_pipe.send(Fault(f"{type(error).__name__}: {error}"))


def _receive(command_pipe: Connection, commands: Commands) -> None:
    try:
        while True:
            commands.put(command_pipe.recv())
    finally:  # the parent hung up, or is no more
        os._exit(0)


def _portable(error: Exception) -> Exception:
    """An error that another process can raise, with a note of where it arose."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever its class does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
