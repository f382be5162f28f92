"""Every error the engine raises.

EngineError
  CheckpointError   the model directory cannot be served
  InvalidRequest    the request can never be run; the message names the field
  QueueFull         too many requests wait; try again later or elsewhere
  RequestFailed     the engine could not go on with this request; others go on
  OutOfMemory       the checkpoint or its KV cache does not fit; says what is needed
  ForkRefused       the request cannot be forked in the state it is in
  BranchEnded       the branch was dropped or promoted before
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


class RequestFailed(EngineError):
    """The engine could not go on with this request; the message says where and why."""


class OutOfMemory(EngineError):
    """The checkpoint or its KV cache does not fit in the memory that is free."""


class ForkRefused(EngineError):
    """The request is waiting, in prefill or past its thinking; the message says which."""


class BranchEnded(EngineError):
    """The branch was dropped or promoted before."""


class EngineStopped(EngineError):
    """The engine loop has ended, by close() or by a fault, and runs nothing more."""
