"""An HTTP server that answers as an upstream does, and fails when told to."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.workers.upstream.fake_model import FakeModel
from tests.workers.upstream.shapes import Asked, Shape, sample

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
    """`completions` are the bodies it was sent; `left` says that a client closed a stream.

    `num_sampled` is its own counter. After each of the first `waits_for_trials` steps it goes on
    with a thinking when the client has had a trial and has left it, or the trial hangs.
    """

    shape: Shape
    model: FakeModel
    url: str = ""
    is_healthy: bool = True
    faults: deque[Fault | None] = field(default_factory=deque)
    completions: list[Json] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    waits_for_trials: int = 0
    num_sampled: int = 0
    num_trials: int = 0
    num_open: int = 0
    num_hanging: int = 0
    num_trials_over: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

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
        if path == "/metrics" and self.shape.metrics is not None:
            _reply(writer, 200, self.shape.metrics)
            return
        page = self.shape.page(path, body, self.model)
        error = {"error": {"message": "no such page", "code": 404}}
        _reply(writer, 404 if page is None else 200, json.dumps(page or error))

    def count_anew(self) -> None:
        """Forget what a worker asked when it started."""
        self.num_sampled = self.num_trials = self.num_trials_over = 0

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits for what the counts will say."""
        async with self._changed:
            await self._changed.wait_for(is_so)

    async def _complete(
        self, body: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.completions.append(body)
        fault = self.faults.popleft() if self.faults else None
        asked = self.shape.asked(body, self.model)
        is_trial = asked.num_likely > 0
        self.num_trials += is_trial
        await self._count(num_open=1)
        try:
            if fault is not None and fault.status is not None:
                error = {"error": {"message": "the server says no"}}
                _reply(writer, fault.status, json.dumps(error), retry_after=fault.retry_after)
            elif asked.streams:
                await self._stream(asked, fault, reader, writer)
            else:
                [event] = self.shape.events(self.model, asked)
                self.num_sampled += self.shape.num_sampled(event)
                _reply(writer, 200, json.dumps(event))
            if is_trial and self.waits_for_trials:
                await writer.drain()
                writer.write_eof()
                await reader.read()  # until the client has left
        finally:
            await self._count(num_open=-1, num_trials_over=is_trial)

    async def _stream(
        self,
        asked: Asked,
        fault: Fault | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        await self._send_events(asked, fault, writer)
        if fault is None:
            await _send(writer, "[DONE]")
            writer.write(b"0\r\n\r\n")
        elif fault.garbage is not None:
            await _send(writer, fault.garbage)
        elif fault.hangs:
            self.hanging.set()
            await self._count(num_hanging=1)
            await reader.read()
            self.left.set()

    async def _send_events(
        self, asked: Asked, fault: Fault | None, writer: asyncio.StreamWriter
    ) -> None:
        taken, _ = sample(self.model, asked)
        num_sent = num_steps = 0
        wait_in = 0  # events
        events = list(self.shape.events(self.model, asked))
        for event in events if fault is None else events[: fault.after]:
            await _send(writer, json.dumps(event))
            num_now = self.shape.num_sampled(event)
            self.num_sampled += num_now - num_sent
            wait_in -= 1
            if wait_in == 0 and num_steps < self.waits_for_trials and not asked.num_likely:
                num_steps += 1
                await self.until(partial(self._had_trials, num_steps))
            if any(b"\n" in self.model.bytes_of(token) for token in taken[num_sent:num_now]):
                wait_in = 1 + self.shape.num_kept_back
            num_sent = num_now

    def _had_trials(self, count: int) -> bool:
        return self.num_trials_over + self.num_hanging >= count

    async def _count(self, **changes: int) -> None:
        async with self._changed:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)
            self._changed.notify_all()


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
