"""The inference engine: torch only. It knows nothing of networks, Redis or routing."""

from workers.engine.async_engine import AsyncEngine
from workers.engine.branch import Branch, BranchEnd
from workers.engine.config import EngineConfig
from workers.engine.engine import Controller, LLMEngine
from workers.engine.errors import (
    BranchEnded,
    CheckpointError,
    EngineError,
    EngineStopped,
    ForkRefused,
    InvalidRequest,
    OutOfMemory,
    QueueFull,
    RequestFailed,
)
from workers.engine.metrics import EngineLoad
from workers.engine.process_engine import ProcessEngine
from workers.engine.request import (
    EngineOutput,
    EngineRequest,
    Finished,
    FinishReason,
    ThinkingStop,
    Usage,
)
from workers.engine.thinking import SpecialTokens
from workers.engine.thread_engine import ThreadEngine

__all__ = [
    "AsyncEngine",
    "Branch",
    "BranchEnd",
    "BranchEnded",
    "CheckpointError",
    "Controller",
    "EngineConfig",
    "EngineError",
    "EngineLoad",
    "EngineOutput",
    "EngineRequest",
    "EngineStopped",
    "FinishReason",
    "Finished",
    "ForkRefused",
    "InvalidRequest",
    "LLMEngine",
    "OutOfMemory",
    "ProcessEngine",
    "QueueFull",
    "RequestFailed",
    "SpecialTokens",
    "ThinkingStop",
    "ThreadEngine",
    "Usage",
]
