"""What a segment needs of an engine, wherever that is: here, or upstream."""

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Protocol, Self

from ponder.v1 import worker_pb2
from workers.engine import EngineLoad, EngineOutput, EngineRequest


class Backend(Protocol):
    """Runs requests. `failure` is what ended it, when a fault did."""

    @property
    def failure(self) -> Exception | None: ...

    @property
    def is_running(self) -> bool:
        """Whether it has not ended for good."""
        ...

    @property
    def is_well(self) -> bool:
        """Whether it can do its work now."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def load(self) -> EngineLoad:
        """Load and speed at a recent moment."""
        ...

    def submit(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
        """Run a request and yield what it gains; closing the iterator aborts it.

        Raises InvalidRequest, QueueFull, RequestFailed or EngineStopped.
        """
        ...

    def abort(self, request_id: str) -> None:
        """End a request; its iterator gets a last output that says so."""
        ...

    def close_thinking(self, request_id: str) -> None:
        """Cut the thinking of a request, after one more token at most; the answer follows."""
        ...


class TextDecoder(Protocol):
    """Turns ids into text piece by piece and never emits half a character."""

    @property
    def holds_text(self) -> bool: ...

    def feed(self, ids: Iterable[int]) -> str: ...

    def flush(self) -> str: ...


class PromptEncoder(Protocol):
    """Renders and encodes prompts; may take long, so it is called from a thread."""

    def engine_request(self, request: worker_pb2.ThinkRequest, engine_id: str) -> EngineRequest: ...

    def text_stream(self) -> TextDecoder: ...
