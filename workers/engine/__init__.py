"""The inference engine: torch only. It knows nothing of networks, Redis or routing."""

from workers.engine.async_engine import AsyncEngine
from workers.engine.config import EngineConfig
from workers.engine.engine import LLMEngine
from workers.engine.errors import (
    CheckpointError,
    EngineError,
    EngineStopped,
    InvalidRequest,
    QueueFull,
)
from workers.engine.metrics import EngineLoad
from workers.engine.request import (
    EngineOutput,
    EngineRequest,
    Finished,
    FinishReason,
    ThinkingStop,
    Usage,
)
from workers.engine.thinking import SpecialTokens

__all__ = [
    "AsyncEngine",
    "CheckpointError",
    "EngineConfig",
    "EngineError",
    "EngineLoad",
    "EngineOutput",
    "EngineRequest",
    "EngineStopped",
    "FinishReason",
    "Finished",
    "InvalidRequest",
    "LLMEngine",
    "QueueFull",
    "SpecialTokens",
    "ThinkingStop",
    "Usage",
]
