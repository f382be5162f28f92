"""Every error that a caller of the router, or its operator, can meet.

RouterError
  InvalidRequest       INVALID_ARGUMENT
  Unauthenticated      UNAUTHENTICATED
  NotEntitled          PERMISSION_DENIED
  DuplicateRequest     ALREADY_EXISTS
  DeadlineTooShort     DEADLINE_EXCEEDED
  NoWorkerAvailable    UNAVAILABLE
  WorkersSaturated     RESOURCE_EXHAUSTED
  Quarantined          FAILED_PRECONDITION
  QuotaExhausted       RESOURCE_EXHAUSTED
  LedgerGone           UNAVAILABLE
  WorkerMisbehaved     INTERNAL
"""

from typing import ClassVar


class RouterError(Exception):
    """Ends a request. The text goes to the caller: it names the field and the remedy.

    `retry_after_s`: when the same request may succeed; None: nobody knows.
    """

    # Name of a grpc.StatusCode; the policy raises these and knows nothing of gRPC.
    status: ClassVar[str]

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class InvalidRequest(RouterError):
    """A field is missing, malformed or out of range."""

    status = "INVALID_ARGUMENT"


class Unauthenticated(RouterError):
    """The credential is missing or unknown."""

    status = "UNAUTHENTICATED"


class NotEntitled(RouterError):
    """An explicit budget or tier is above what the tenant's plan includes."""

    status = "PERMISSION_DENIED"


class DuplicateRequest(RouterError):
    """The request_id is in use, or was used for another request."""

    status = "ALREADY_EXISTS"


class DeadlineTooShort(RouterError):
    """Not even an answer fits into the time that is left."""

    status = "DEADLINE_EXCEEDED"


class NoWorkerAvailable(RouterError):
    """No live worker may take the request."""

    status = "UNAVAILABLE"


class WorkersSaturated(RouterError):
    """The load leaves no room, or every worker that may take the request turned it away."""

    status = "RESOURCE_EXHAUSTED"


class Quarantined(RouterError):
    """Workers crashed while they ran the request: it is not tried on another."""

    status = "FAILED_PRECONDITION"


class QuotaExhausted(RouterError):
    """The tenant's plan has no tokens, or no place, left for it now."""

    status = "RESOURCE_EXHAUSTED"


class LedgerGone(RouterError):
    """Redis does not take a record that only Redis can keep."""

    status = "UNAVAILABLE"


class WorkerMisbehaved(RouterError):
    """A worker broke the contract of worker.proto."""

    status = "INTERNAL"
