"""POST /v1/chat/completions: parse, bound, ask the router, reply. Holds no policy of its own."""

import logging
import time
import uuid
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ponder.v1 import reasoner_pb2 as pb
from router.openai.chat_reply import Completion
from router.openai.chat_request import ChatRequest, parse_chat
from router.openai.config import DoorConfig
from router.openai.disconnect import unless_gone
from router.openai.event_stream import ChunkWriter, EventStream, first_events
from router.openai.intake import caller_of, read_json
from router.openai.router_client import Caller, RouterClient
from router.openai.token_limits import AnswerShare, divide, limit_answer

_log = logging.getLogger(__name__)
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"


class ChatEndpoint:
    """Answers one request after the other; what belongs to one is in no field of it."""

    def __init__(self, router: RouterClient, config: DoorConfig) -> None:
        self._router = router
        self._config = config
        self._share = AnswerShare(
            max_tokens=config.max_answer_tokens, reserve_tokens=config.answer_reserve_tokens
        )

    async def __call__(self, request: Request) -> Response:
        """Raises ApiError, starlette.requests.ClientDisconnect."""
        caller = caller_of(request, self._config)
        body = await read_json(request, self._config)
        request_id = request.headers.get(IDEMPOTENCY_HEADER) or uuid.uuid4().hex
        chat = parse_chat(body, request_id)
        response = await unless_gone(request, self._answer(chat, caller))
        response.headers["x-request-id"] = request_id
        _log.info("request %r answered, stream=%s", request_id, chat.is_stream)
        return response

    async def _answer(self, chat: ChatRequest, caller: Caller) -> Response:
        completion = Completion(request_id=chat.reason.request_id, created_s=int(time.time()))
        reason = await self._bounded(chat, caller)
        if not chat.is_stream:
            return JSONResponse(completion.whole(await self._router.reason(reason, caller)))
        events = self._router.stream(reason, caller)
        try:
            first = await first_events(events)
        except BaseException:
            await events.aclose()
            raise
        writer = ChunkWriter(completion, includes_usage=chat.includes_usage)
        return EventStream(writer.write(first, events), events, caller)

    async def _bounded(self, chat: ChatRequest, caller: Caller) -> pb.ReasonRequest:
        """With a limit on all tokens the router is asked twice: the plan tells how to divide it."""
        reason, max_tokens = chat.reason, chat.max_tokens
        if max_tokens is None:
            return reason
        limit_answer(reason, max_tokens, self._share)
        if not reason.HasField("thinking_budget"):
            divide(reason, max_tokens, await self._router.plan(reason, caller), self._share)
        return reason
