"""Requests that the official client would never send, by hand on a socket."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

DEADLINE_S = 20
CHAT = "POST /v1/chat/completions"


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(url)
    return await asyncio.open_connection(where.hostname, where.port)


def request_bytes(target: str, body: bytes, *headers: str, length: str | None = None) -> bytes:
    """With the headers of a JSON body; `length` takes the place of the true content-length."""
    head = [
        f"{target} HTTP/1.1",
        "host: door",
        "content-type: application/json",
        length or f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def ask(url: str, sent: bytes) -> tuple[int, Any]:
    """Status and body, decoded when it is JSON."""
    reader, writer = await connect(url)
    try:
        writer.write(sent)
        async with asyncio.timeout(DEADLINE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            return int(head.split()[1]), await _body(reader, head.lower())
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader, head: str) -> Any:
    if "content-length: " not in head:
        return None
    num_bytes = int(head.split("content-length: ")[1].split("\r\n")[0])
    text = (await reader.readexactly(num_bytes)).decode()
    return json.loads(text) if "application/json" in head else text
