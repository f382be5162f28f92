"""Every error the engine raises.

EngineError
  CheckpointError   the model directory cannot be served
  InvalidRequest    the request can never be run; the message names the field
  QueueFull         too many requests wait; try again later or elsewhere
  EngineStopped     the engine loop has ended; its cause, if any, is chained
"""


class EngineError(Exception):
    """Anything the engine refuses or fails at."""


class CheckpointError(EngineError):
    """The model directory is missing, broken or of a kind that the engine cannot serve."""


class InvalidRequest(EngineError, ValueError):
    """The request can never be run; the message names the field and the remedy."""


class QueueFull(EngineError):
    """As many requests wait as the configuration allows."""


class EngineStopped(EngineError):
    """The engine loop has ended, by close() or by a fault, and runs nothing more."""
