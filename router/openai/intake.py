"""What a request must keep to before anything of it is parsed: headers, size, time, JSON."""

import asyncio
import json
import re
import time
from typing import Any, Final, NoReturn

from starlette.requests import Request

from ponder.trace_context import passed_on, work_for
from router.openai.config import DoorConfig
from router.openai.errors import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    INVALID,
    NOT_JSON,
    TOO_MANY_HEADERS,
    ApiError,
    invalid,
)
from router.openai.router_client import Caller

TIMEOUT_HEADER: Final = "Ponder-Timeout-S"
_BODY_TIMEOUT_S: Final = 30.0
# What gRPC takes as the value of a text header.
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")


def check_headers(request: Request, config: DoorConfig) -> None:
    """Raises ApiError."""
    num_headers = len(request.scope["headers"])
    if num_headers > config.max_headers:
        raise ApiError(
            TOO_MANY_HEADERS, f"{num_headers} headers; send at most {config.max_headers}"
        )


def caller_of(request: Request, config: DoorConfig) -> Caller:
    """The log lines of this task name its trace from now on. Raises ApiError."""
    authorization = request.headers.get("authorization")
    if authorization is not None and not _PRINTABLE.fullmatch(authorization):
        raise invalid("Authorization", " must be printable ASCII")
    timeout_s = _timeout_s(request.headers.get(TIMEOUT_HEADER), config)
    trace = passed_on(request.headers.items())
    work_for(trace)
    deadline_at_s = time.monotonic() + timeout_s
    return Caller(authorization=authorization, deadline_at_s=deadline_at_s, trace=trace)


async def read_json(request: Request, config: DoorConfig) -> Any:
    """The decoded body. Raises ApiError, starlette.requests.ClientDisconnect."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(NOT_JSON, "Content-Type must be application/json", "Content-Type")
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            body = await _read_body(request, config.max_body_bytes)
    except TimeoutError as error:
        problem = f"the body did not arrive within {_BODY_TIMEOUT_S:.0f} s"
        raise ApiError(BODY_TIMEOUT, problem) from error
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError(INVALID, f"the body is no JSON: {error}") from error


async def _read_body(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(BODY_TOO_LARGE, f"the body is too large; send at most {max_bytes} bytes")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _timeout_s(value: str | None, config: DoorConfig) -> float:
    if value is None:
        return config.timeout_s
    try:
        asked_s = float(value)
    except ValueError:
        asked_s = 0.0
    # Not a number fails every comparison.
    if not asked_s > 0.0:
        raise invalid(TIMEOUT_HEADER, " must be a number of seconds above 0")
    return min(asked_s, config.timeout_s)
