"""GET /v1/models. The router's API names no models, so each is found by planning a request."""

import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ponder.v1 import reasoner_pb2 as pb
from router.openai.config import DoorConfig
from router.openai.errors import ApiError
from router.openai.intake import caller_of
from router.openai.router_client import Caller, RouterClient

_DEFAULT: Final = ""
_NOT_FOUND: Final = 404


class ModelsEndpoint:
    """The router's default model first, then the configured ones that it serves now."""

    def __init__(self, router: RouterClient, config: DoorConfig) -> None:
        self._router = router
        self._config = config
        self._created_s = int(time.time())

    async def __call__(self, request: Request) -> Response:
        """Raises ApiError."""
        caller = caller_of(request, self._config)
        asked = (_DEFAULT, *self._config.models)
        found = [await self._served(name, caller) for name in asked]
        served = dict.fromkeys(name for name in found if name is not None)
        return JSONResponse({"object": "list", "data": [self._described(name) for name in served]})

    async def _served(self, name: str, caller: Caller) -> str | None:
        try:
            planned = pb.ReasonRequest(prompt="?", model=name)
            return (await self._router.plan(planned, caller)).model
        except ApiError as error:
            if error.kind.status == _NOT_FOUND:
                return None
            raise

    def _described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created_s, "owned_by": "ponder"}
