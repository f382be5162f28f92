"""Refusals as OpenAI writes them, and what each gRPC status of a router becomes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """HTTP status with OpenAI's `type` and `code`."""

    status: int
    type: str
    code: str


INVALID: Final = ErrorKind(400, "invalid_request_error", "invalid_value")
UNSUPPORTED: Final = ErrorKind(400, "invalid_request_error", "unsupported_parameter")
BODY_TIMEOUT: Final = ErrorKind(408, "invalid_request_error", "request_timeout")
BODY_TOO_LARGE: Final = ErrorKind(413, "invalid_request_error", "request_too_large")
NOT_JSON: Final = ErrorKind(415, "invalid_request_error", "unsupported_media_type")
TOO_MANY_HEADERS: Final = ErrorKind(431, "invalid_request_error", "too_many_headers")
INTERNAL: Final = ErrorKind(500, "server_error", "internal_error")
_UNAVAILABLE: Final = ErrorKind(503, "server_error", "unavailable")
_NO_MODEL: Final = ErrorKind(404, "not_found_error", "model_not_found")

_KINDS: Final[Mapping[StatusCode, ErrorKind]] = MappingProxyType(
    {
        StatusCode.INVALID_ARGUMENT: INVALID,
        StatusCode.UNAUTHENTICATED: ErrorKind(401, "authentication_error", "invalid_api_key"),
        StatusCode.PERMISSION_DENIED: ErrorKind(403, "permission_error", "not_entitled"),
        StatusCode.NOT_FOUND: ErrorKind(404, "not_found_error", "not_found"),
        StatusCode.ALREADY_EXISTS: ErrorKind(409, "conflict_error", "duplicate_request"),
        StatusCode.FAILED_PRECONDITION: ErrorKind(422, "invalid_request_error", "quarantined"),
        StatusCode.RESOURCE_EXHAUSTED: ErrorKind(429, "rate_limit_error", "saturated"),
        StatusCode.UNAVAILABLE: _UNAVAILABLE,
        # A router that drains cancels what still runs after its grace.
        StatusCode.CANCELLED: _UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED: ErrorKind(504, "server_error", "deadline_exceeded"),
    }
)
# The router's name of a field, where the caller knows it by another.
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "prompt": "messages",
        "tier": "reasoning_effort",
        "thinking_budget": "max_completion_tokens",
        "max_answer_tokens": "max_completion_tokens",
        "sampling.temperature": "temperature",
        "sampling.top_p": "top_p",
        "sampling.seed": "seed",
        "request_id": "Idempotency-Key",
    }
)
_ABOUT_A_FIELD: Final = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.PERMISSION_DENIED,
    StatusCode.ALREADY_EXISTS,
)
_FIELD: Final = re.compile(r"([a-z][a-z_.]*(?:\[\d+\](?:\.[a-z]+)?)?)(?=:| is | was | holds )")


class ApiError(Exception):
    """Ends a request. The message goes to the caller; `param` names the field it is about."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        param: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.headers = headers

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the reply."""
        error = {"message": self.message, "type": self.kind.type}
        return {"error": {**error, "param": self.param, "code": self.kind.code}}


def invalid(param: str, problem: str) -> ApiError:
    """A field with a value that cannot be."""
    return ApiError(INVALID, f"{param}{problem}", param)


def unreachable(retry_after_s: int) -> ApiError:
    """There is no router."""
    message = "the router cannot be reached; try again in a few seconds"
    return ApiError(_UNAVAILABLE, message, headers=_headers(_UNAVAILABLE, retry_after_s))


def from_status(status: StatusCode, details: str, retry_after_s: int) -> ApiError:
    """The router's refusal, with its field by OpenAI's name."""
    kind = _KINDS.get(status, INTERNAL)
    param, message = _renamed(details) if status in _ABOUT_A_FIELD else (None, details)
    if kind is INVALID and param == "model":
        kind = _NO_MODEL
    return ApiError(
        kind, message or "the router gave no reason", param, _headers(kind, retry_after_s)
    )


def _renamed(details: str) -> tuple[str | None, str]:
    found = _FIELD.match(details)
    if found is None:
        return None, details
    name = _NAMES.get(found[1], found[1])
    return name, name + details[found.end() :]


def _headers(kind: ErrorKind, retry_after_s: int) -> dict[str, str]:
    if kind.status in (429, 503):
        return {"Retry-After": str(retry_after_s)}
    # OpenAI's clients repeat what fails with 5xx; the same deadline would pass once more.
    return {"x-should-retry": "false"} if kind.status == 504 else {}
