"""The engine for asyncio: a loop in its own thread, one async iterator per request.

Commands reach the thread through a queue; the outputs of a step come back by one
call_soon_threadsafe. A mailbox holds at most the tokens that its request may produce.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType

from workers.engine.engine import LLMEngine
from workers.engine.errors import EngineStopped, InvalidRequest, RequestFailed
from workers.engine.metrics import EngineLoad
from workers.engine.request import EngineOutput, EngineRequest

logger = logging.getLogger(__name__)


class _Mailbox:
    """Outputs of one request on their way to its reader."""

    def __init__(self) -> None:
        self._outputs: deque[EngineOutput] = deque()
        self._failure: Exception | None = None
        self._arrived = asyncio.Event()

    def put(self, output: EngineOutput) -> None:
        self._outputs.append(output)
        self._arrived.set()

    def fail(self, error: Exception) -> None:
        self._failure = error
        self._arrived.set()

    async def get(self) -> EngineOutput:
        while not self._outputs:
            if self._failure is not None:
                raise self._failure
            self._arrived.clear()
            await self._arrived.wait()
        return self._outputs.popleft()


class AsyncEngine:
    """Owns the engine's thread from `start` to `close`; use it as an async context manager."""

    def __init__(self, engine: LLMEngine) -> None:
        self.failure: Exception | None = None  # what ended the loop, when a fault did
        self._engine = engine
        self._mailboxes: dict[str, _Mailbox] = {}
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> "AsyncEngine":
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
        """Start the thread; outputs go to the event loop that calls this."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self) -> None:
        """Stop after the current step; requests that still run fail with EngineStopped."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        self._fail_all(EngineStopped("the engine was closed"))

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive() and not self._stopping and self.failure is None

    def load(self) -> EngineLoad:
        """A snapshot of load and speed."""
        return self._engine.load()

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
            self._command(lambda: self._add(request))
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
        self._command(lambda: self._engine.abort(request_id))

    def close_thinking(self, request_id: str) -> None:
        """Cut the thinking of a request after one more token; the answer follows."""
        self._command(lambda: self._engine.close_thinking(request_id))

    def _command(self, command: Callable[[], None]) -> None:
        with self._wake:
            self._commands.append(command)
            self._wake.notify()

    # On the engine's thread

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._publish(self._engine.step())
        except Exception as error:
            logger.exception("the engine loop failed")
            self.failure = error
            stopped = EngineStopped(f"the engine failed: {type(error).__name__}: {error}")
            stopped.__cause__ = error
            self._call_soon(lambda: self._fail_all(stopped))

    def _wait_for_work(self) -> bool:
        """Apply commands; sleep while there is nothing to do; False means stop."""
        while not self._stopping:
            while self._commands:
                self._commands.popleft()()
            if self._engine.has_work:
                return True
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._commands)
        return False

    def _add(self, request: EngineRequest) -> None:
        try:
            self._engine.add_request(request)
        except Exception as error:  # noqa: BLE001 - fails this request, not the others
            failure = error
            self._call_soon(lambda: self._fail(request.request_id, failure))

    def _publish(self, outputs: list[EngineOutput]) -> None:
        if outputs:
            self._call_soon(lambda: self._deliver(outputs))

    def _call_soon(self, callback: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the event loop is closed: nobody listens any more
            self._stopping = True

    # On the event loop

    def _deliver(self, outputs: list[EngineOutput]) -> None:
        for output in outputs:
            mailbox = self._mailboxes.get(output.request_id)
            if mailbox is not None:  # else its reader has gone
                mailbox.put(output)

    def _fail(self, request_id: str, error: Exception) -> None:
        mailbox = self._mailboxes.get(request_id)
        if mailbox is not None:
            mailbox.fail(error)

    def _fail_all(self, error: Exception) -> None:
        for mailbox in self._mailboxes.values():
            mailbox.fail(error)
