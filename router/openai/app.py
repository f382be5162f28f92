"""The routes of the front door, and what becomes of every error."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.openai.chat import ChatEndpoint
from router.openai.config import DoorConfig
from router.openai.errors import INTERNAL, ApiError, ErrorKind
from router.openai.intake import check_headers
from router.openai.models import ModelsEndpoint
from router.openai.router_client import RouterClient

_log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]
# What servers log when there is nobody left to tell.
_CLIENT_CLOSED_REQUEST: Final = 499


def build_app(router: RouterClient, config: DoorConfig) -> Starlette:
    """The ASGI application."""

    async def healthz(request: Request) -> Response:
        return await _health(router)

    chat, models = ChatEndpoint(router, config), ModelsEndpoint(router, config)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", _guarded(chat, config), methods=["POST"]),
            Route("/v1/models", _guarded(models, config), methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error},
    )


def _guarded(endpoint: Endpoint, config: DoorConfig) -> Endpoint:
    async def guarded(request: Request) -> Response:
        try:
            check_headers(request, config)
            return await endpoint(request)
        except ApiError as error:
            return _error_response(error)
        except ClientDisconnect:
            _log.info("the client left before the reply")
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        except Exception:  # noqa: BLE001 - the outermost loop of a request
            _log.exception("%s failed", request.scope["path"])
            return _error_response(ApiError(INTERNAL, "internal error"))

    return guarded


async def _health(router: RouterClient) -> Response:
    """For readiness: without a router that serves there is nothing to do here."""
    if await router.is_serving():
        return JSONResponse({"status": "serving"})
    return JSONResponse({"status": "no router is serving"}, status_code=503)


def _error_response(error: ApiError) -> Response:
    _log.info("request refused: %d %s", error.kind.status, error.kind.code)
    return JSONResponse(error.body, status_code=error.kind.status, headers=dict(error.headers))


async def _http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods."""
    assert isinstance(error, HTTPException)
    kind = ErrorKind(error.status_code, "invalid_request_error", "unknown_url")
    known = "POST /v1/chat/completions, GET /v1/models, GET /healthz"
    body = ApiError(kind, f"{error.detail}; this server knows {known}").body
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)
