"""Just enough HTTP/1.1 to time a proxy: an upstream that answers chat completions at once, and a
client. python -m router.bench.http_stub --port N
"""

import argparse
import asyncio
import json
import time
from typing import Final

# Servers close what is idle for longer; uvicorn after 5 s.
_MOST_IDLE_S: Final = 2.0
_REPLY: Final = {
    "id": "stub",
    "object": "chat.completion",
    "created": 0,
    "model": "stub",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "42"}}
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 17, "total_tokens": 24},
}


class HttpFailed(Exception):
    """A status other than 200."""


class HttpClient:
    """Posts JSON to one address over connections that are kept."""

    def __init__(self, port: int, path: str, key: str) -> None:
        self._port = port
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        self._head += f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._used_at_s = 0.0

    async def post(self, document: object) -> bytes:
        """Raises HttpFailed, OSError, asyncio.IncompleteReadError."""
        body = json.dumps(document).encode()
        now_s = time.monotonic()
        if now_s - self._used_at_s > _MOST_IDLE_S:
            await self.close()
        self._used_at_s = now_s
        connection = self._idle.pop() if self._idle else await self._connect()
        reader, writer = connection
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status, reply = await _read_message(reader)
        self._idle.append(connection)
        if not status.startswith("HTTP/1.1 200"):
            raise HttpFailed(f"{status}: {reply[:200].decode(errors='replace')}")
        return reply

    async def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)


async def _read_message(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """The first line and the body; only bodies of a stated length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    fields = {
        name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
    }
    return first, await reader.readexactly(int(fields.get("content-length", "0")))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = json.dumps(_REPLY).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    reply = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    try:
        while True:
            await _read_message(reader)
            writer.write(reply)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))
