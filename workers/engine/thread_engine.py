"""An engine on a thread of this process."""

import logging

from workers.engine.async_engine import AsyncEngine
from workers.engine.engine_loop import Engine, EngineLoop
from workers.engine.step_watch import PATIENCE_S

logger = logging.getLogger(__name__)


class ThreadEngine(AsyncEngine):
    """Steps an engine beside the event loop; `close` waits for the step that runs."""

    def __init__(self, engine: Engine, patience_s: float = PATIENCE_S) -> None:
        super().__init__(engine.load(), patience_s)
        self._engine = engine

    def _run(self) -> None:
        try:
            EngineLoop(self._engine, self._commands, self._report).run()
        except Exception as error:
            logger.exception("the engine loop failed")
            self._fail_engine(f"the engine failed: {type(error).__name__}: {error}", error)
