"""The engine for asyncio: one async iterator per request, wherever the engine runs.

Commands leave by a queue; what a step gave comes back by one call_soon_threadsafe. A mailbox holds
at most the tokens that its request may produce.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from workers.engine.engine_loop import Abort, CloseThinking, Commands, Event, Progress, Refusal
from workers.engine.errors import EngineStopped, InvalidRequest, RequestFailed
from workers.engine.metrics import EngineLoad
from workers.engine.request import EngineOutput, EngineRequest
from workers.engine.step_watch import StepWatch

_TICK_S = 0.1


class _Mailbox:
    """Outputs of one request on their way to its reader. `is_complete`: nothing more comes."""

    def __init__(self) -> None:
        self.is_complete = False
        self._outputs: deque[EngineOutput] = deque()
        self._failure: Exception | None = None
        self._arrived = asyncio.Event()

    def put(self, output: EngineOutput) -> None:
        self._outputs.append(output)
        self.is_complete = output.finished is not None
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        self._failure = error
        self.is_complete = True
        self._arrived.set()

    async def get(self) -> EngineOutput:
        while not self._outputs:
            if self._failure is not None:
                raise self._failure
            self._arrived.clear()
            await self._arrived.wait()
        return self._outputs.popleft()


class AsyncEngine(ABC):
    """Owns a running engine from `start` to `close`; use it as an async context manager."""

    def __init__(self, load: EngineLoad, patience_s: float) -> None:
        """`patience_s`: see StepWatch."""
        self.failure: Exception | None = None  # what ended the engine, when a fault did
        self._commands: Commands = SimpleQueue()
        self._load = load
        self._mailboxes: dict[str, _Mailbox] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._steps = StepWatch(patience_s)
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Begin; outputs go to the event loop that calls this."""
        self._loop = asyncio.get_running_loop()
        self._ticking = self._loop.create_task(self._tick())
        self._thread.start()

    async def close(self) -> None:
        """Stop; requests that still run fail with EngineStopped."""
        self._stop()
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.to_thread(self._wait_for_end)
        self._fail_all(EngineStopped("the engine was closed"))

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive() and not self._stopping and self.failure is None

    @property
    def is_well(self) -> bool:
        """An engine here is well until it ends, but while it hangs."""
        return self.is_running and not self._steps.is_stalled

    def load(self) -> EngineLoad:
        """Load and speed after a recent step."""
        return self._load

    async def submit(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
        """Run a request and yield what it gains; closing the iterator aborts it.

        Raises:
            InvalidRequest: it can never run.
            QueueFull: too many wait.
            RequestFailed: the engine could not go on with it; its last output came before.
            EngineStopped: the engine ended before the request did.
        """
        if not self.is_running:
            raise EngineStopped("the engine is not running") from self.failure
        if request.request_id in self._mailboxes:
            raise InvalidRequest("request_id is already running")
        mailbox = self._mailboxes[request.request_id] = _Mailbox()
        is_finished = False
        try:
            self._commands.put(request)
            self._steps.expect()
            while not is_finished:
                output = await mailbox.get()
                is_finished = output.finished is not None
                yield output
                if output.finished is not None and output.finished.failure:
                    raise RequestFailed(output.finished.failure)
        finally:
            del self._mailboxes[request.request_id]
            if not is_finished:
                self.abort(request.request_id)

    def abort(self, request_id: str) -> None:
        """End a request; its iterator gets a last output that says so."""
        self._commands.put(Abort(request_id))

    def close_thinking(self, request_id: str) -> None:
        """Cut the thinking of a request after one more token; the answer follows."""
        self._commands.put(CloseThinking(request_id))

    def _stop(self) -> None:
        self._stopping = True
        self._commands.put(None)

    def _wait_for_end(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    # On a thread of its own

    @abstractmethod
    def _run(self) -> None:
        """Report what the engine does until it has ended, and how it failed."""

    def _report(self, event: Event) -> None:
        self._call_soon(lambda: self._receive(event))

    def _fail_engine(self, text: str, cause: Exception | None = None) -> None:
        stopped = EngineStopped(text)
        stopped.__cause__ = cause
        self.failure = stopped if cause is None else cause
        self._call_soon(lambda: self._fail_all(stopped))

    def _call_soon(self, callback: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the event loop is closed: nobody listens any more
            self._stop()

    # On the event loop

    def _receive(self, event: Event) -> None:
        match event:
            case Progress(outputs, load):
                self._load = load
                self._deliver(outputs)
            case Refusal(request_id, error):
                if (mailbox := self._mailboxes.get(request_id)) is not None:
                    mailbox.fail(error)
        self._steps.note(has_work=self._has_work, long_step_s=self._load.long_step_s)

    @property
    def _has_work(self) -> bool:
        """What was submitted a moment ago is not in the load yet."""
        is_open = any(not mailbox.is_complete for mailbox in self._mailboxes.values())
        return is_open or self._load.running + self._load.waiting > 0

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._steps.tick(_TICK_S)

    def _deliver(self, outputs: list[EngineOutput]) -> None:
        for output in outputs:
            mailbox = self._mailboxes.get(output.request_id)
            if mailbox is not None:  # else its reader has gone
                mailbox.put(output)

    def _fail_all(self, error: Exception) -> None:
        for mailbox in self._mailboxes.values():
            mailbox.fail(error)
