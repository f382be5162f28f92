"""A streamed completion: the router's events as server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ponder.v1 import reasoner_pb2 as pb
from router.openai.chat_reply import Completion, decision, finish_reason, ponder
from router.openai.errors import ApiError
from router.openai.router_client import Caller

Events = AsyncGenerator[pb.ReasonEvent, None]
# Beyond the deadline there is only the rest of what a slow client has not read.
_FLUSH_S: Final = 5.0


class EventStream(StreamingResponse):
    """The response; however it ends, the call to the router ends with it."""

    media_type = "text/event-stream"

    def __init__(self, written: AsyncIterator[str], events: Events, caller: Caller) -> None:
        # Proxies hold a response back to compress or to collect it, unless they are told.
        super().__init__(written, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events), asyncio.timeout(self._caller.left_s + _FLUSH_S):
            await super().__call__(scope, receive, send)


async def first_events(events: Events) -> list[pb.ReasonEvent]:
    """Up to the first one that is not a decision: by then a worker has taken the request.

    What is refused until then is an HTTP status, afterwards only an event. Raises ApiError.
    """
    found = []
    async for event in events:
        found.append(event)
        if event.WhichOneof("event") != "decision":
            break
    return found


class ChunkWriter:
    """Turns the events of one completion into the text of its stream."""

    def __init__(self, completion: Completion, *, includes_usage: bool) -> None:
        self._completion = completion
        self._includes_usage = includes_usage
        self._model = ""
        self._num_sent = 0

    async def write(self, first: list[pb.ReasonEvent], rest: Events) -> AsyncIterator[str]:
        """A stream that fails halfway ends with an error and without [DONE]."""
        try:
            for event in first:
                yield self._text(event)
            async for event in rest:
                yield self._text(event)
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield _data(error.body)

    def _text(self, event: pb.ReasonEvent) -> str:
        match event.WhichOneof("event"):
            case "decision":
                return self._decided(event.decision)
            case "progress":
                # A comment: clients skip it, and proxies see that the connection lives.
                return f": thinking {event.progress.thinking_tokens}\n\n"
            case "answer_delta":
                return self._answered(event.answer_delta)
            case "final":
                return self._ended(event.final)
        return ""

    def _decided(self, decided: pb.Decision) -> str:
        """The first one begins the message; one more follows each escalation."""
        delta = {} if self._model else {"role": "assistant", "content": ""}
        self._model = decided.model
        return self._chunk(delta, ponder={"decision": decision(decided)})

    def _answered(self, text: str) -> str:
        self._num_sent += len(text)
        return self._chunk({"content": text})

    def _ended(self, reply: pb.ReasonReply) -> str:
        """A reply that was kept for a repeated request comes without its pieces."""
        rest = reply.answer[self._num_sent :]
        text = self._answered(rest) if rest else ""
        text += self._chunk({}, finish_reason(reply), ponder=ponder(reply))
        if self._includes_usage:
            text += _data(self._completion.usage_chunk(reply))
        return text

    def _chunk(self, delta: dict[str, str], finish: str | None = None, **extra: Any) -> str:
        usage = {"usage": None} if self._includes_usage else {}
        return _data({**self._completion.chunk(self._model, delta, finish), **usage, **extra})


def _data(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"
