"""Builds the engine that a worker runs, in whatever process it is to run."""

from workers.engine.config import EngineConfig
from workers.engine.engine import LLMEngine
from workers.engine.engine_loop import Engine
from workers.engine.thinking import SpecialTokens


def build_engine(config: EngineConfig, tokens: SpecialTokens) -> Engine:
    """Load the checkpoint; raises CheckpointError, OutOfMemory or ValueError."""
    return LLMEngine(config, tokens)
