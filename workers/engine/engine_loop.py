"""Steps an engine while it has work, and obeys commands between steps. On whatever runs it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from workers.engine.metrics import EngineLoad
from workers.engine.request import EngineOutput, EngineRequest

_LOAD_INTERVAL_S = 0.1  # while steps give no output


class Engine(Protocol):
    """What is stepped: LLMEngine, or what wraps one."""

    @property
    def has_work(self) -> bool:
        """See LLMEngine."""
        ...

    def add_request(self, request: EngineRequest) -> None:
        """See LLMEngine."""
        ...

    def abort(self, request_id: str) -> None:
        """See LLMEngine."""
        ...

    def close_thinking(self, request_id: str) -> None:
        """See LLMEngine."""
        ...

    def step(self) -> list[EngineOutput]:
        """See LLMEngine."""
        ...

    def load(self) -> EngineLoad:
        """See LLMEngine."""
        ...


@dataclass(frozen=True, slots=True)
class Abort:
    """End a request."""

    request_id: str


@dataclass(frozen=True, slots=True)
class CloseThinking:
    """Let a request go on to its answer."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step gave, and the load after it."""

    outputs: list[EngineOutput]
    load: EngineLoad


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not taken."""

    request_id: str
    error: Exception


Command = EngineRequest | Abort | CloseThinking
Commands = SimpleQueue[Command | None]  # None: stop
Event = Progress | Refusal


class EngineLoop:
    """Commands come by a queue from any thread; events go to `report`."""

    def __init__(
        self,
        engine: Engine,
        commands: Commands,
        report: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._report = report
        self._clock = clock
        self._reported_s = -math.inf

    def run(self) -> None:
        """Go on until told to stop; raises what a step raises."""
        while self._obey_all():
            outputs = self._engine.step()
            now_s = self._clock()
            if outputs or now_s - self._reported_s >= _LOAD_INTERVAL_S:
                self._reported_s = now_s
                self._report(Progress(outputs, self._engine.load()))

    def _obey_all(self) -> bool:
        """Obey what has been commanded; sleep while there is nothing to do; False means stop."""
        while not self._engine.has_work or not self._commands.empty():
            command = self._commands.get()
            if command is None:
                return False
            self._obey(command)
        return True

    def _obey(self, command: Command) -> None:
        self._reported_s = -math.inf  # the load has changed
        match command:
            case Abort(request_id):
                self._engine.abort(request_id)
            case CloseThinking(request_id):
                self._engine.close_thinking(request_id)
            case EngineRequest():
                self._add(command)

    def _add(self, request: EngineRequest) -> None:
        try:
            self._engine.add_request(request)
        except Exception as error:  # noqa: BLE001 - fails this request, not the others
            self._report(Refusal(request.request_id, error))
