"""An HTTP server that answers as an upstream does, and fails when told to."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.workers.upstream.fake_model import FakeModel
from tests.workers.upstream.shapes import Shape

Json = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one completion, after some events of its stream.

    `status`: instead of a stream. `garbage`: sent as an event. `hangs`: sends nothing more until
    the client leaves. Else the connection is cut.
    """

    after: int = 0
    status: int | None = None
    retry_after: str | None = None
    garbage: str | None = None
    hangs: bool = False


@dataclass
class FakeServer:
    """`completions` are the bodies it was sent; `left` says that a client closed a stream."""

    shape: Shape
    model: FakeModel
    url: str = ""
    is_healthy: bool = True
    faults: deque[Fault | None] = field(default_factory=deque)
    completions: list[Json] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path, body, authorization = await _request(reader)
            self.authorizations.add(authorization)
            if path == self.shape.path:
                await self._complete(body, reader, writer)
            else:
                self._page(path, body, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()

    def _page(self, path: str, body: Json, writer: asyncio.StreamWriter) -> None:
        if path == "/health":
            _reply(writer, 200 if self.is_healthy else 503, "")
            return
        page = self.shape.page(path, body, self.model)
        error = {"error": {"message": "no such page", "code": 404}}
        _reply(writer, 404 if page is None else 200, json.dumps(page or error))

    async def _complete(
        self, body: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.completions.append(body)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.status is not None:
            error = {"error": {"message": "the server says no"}}
            _reply(writer, fault.status, json.dumps(error), retry_after=fault.retry_after)
            return
        asked = self.shape.asked(body, self.model)
        events = list(self.shape.events(self.model, asked))
        if not asked.streams:
            _reply(writer, 200, json.dumps(events[0]))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for event in events if fault is None else events[: fault.after]:
            await _send(writer, json.dumps(event))
        if fault is None:
            await _send(writer, "[DONE]")
            writer.write(b"0\r\n\r\n")
        elif fault.garbage is not None:
            await _send(writer, fault.garbage)
        elif fault.hangs:
            self.hanging.set()
            await reader.read()
            self.left.set()


async def _request(reader: asyncio.StreamReader) -> tuple[str, Json, str]:
    """Path, body and what stands under Authorization."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return first.split()[1], json.loads(body) if body else {}, headers.get("authorization", "")


def _reply(
    writer: asyncio.StreamWriter, status: int, text: str, retry_after: str | None = None
) -> None:
    extra = "" if retry_after is None else f"Retry-After: {retry_after}\r\n"
    head = f"HTTP/1.1 {status} X\r\nConnection: close\r\n{extra}Content-Length: {len(text)}\r\n\r\n"
    writer.write(head.encode() + text.encode())


async def _send(writer: asyncio.StreamWriter, event: str) -> None:
    data = f"data: {event}\n\n".encode()
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()
