"""Every error of the worker process around the engine.

WorkerError
  InvalidArgument      a request that no retry will save; the message names the field and the remedy
  ConfidenceFileError  a model's confidence.json cannot be used
  EarlyExitFileError   a model's early_exit.json cannot be used
"""


class WorkerError(Exception):
    """Anything the worker process refuses."""


class InvalidArgument(WorkerError):
    """A field of a request is wrong. `problem` says what is wrong and what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class ConfidenceFileError(WorkerError):
    """A model's confidence.json cannot be used."""


class EarlyExitFileError(WorkerError):
    """A model's early_exit.json cannot be used."""
