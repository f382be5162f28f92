"""HTTP to one server: JSON, server-sent events, and what can go wrong between here and there."""

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from workers.upstream.errors import Broken, Busy, Garbled, Missing, Refused

_CONNECT_S: Final = 5.0
_ASK_S: Final = 10.0
_REFUSALS: Final = frozenset({400, 413, 422})
_BUSY: Final = frozenset({429, 503})
_MAX_MESSAGE: Final = 300

Json = Mapping[str, Any]


class Wire:
    """One server. `ask` is for the start and for threads; the rest is for the event loop."""

    def __init__(self, url: str, api_key: str | None = None, silence_s: float = 60.0) -> None:
        """`silence_s`: how long a stream may be silent before it counts as broken.

        Proxies named in the environment are not used: upstreams are near.
        """
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        # Loading the certificates of the system takes longer than all the rest of this.
        verify = httpx2.create_ssl_context() if url.startswith("https:") else False
        self.url = url
        self._asking = httpx2.Client(
            base_url=url, headers=headers, timeout=_ASK_S, verify=verify, trust_env=False
        )
        self._streaming = httpx2.AsyncClient(
            base_url=url,
            headers=headers,
            verify=verify,
            trust_env=False,
            timeout=httpx2.Timeout(silence_s, connect=_CONNECT_S, pool=None),
            limits=httpx2.Limits(max_connections=None),
        )

    @classmethod
    def of(cls, url: str, api_key_file: Path | None, silence_s: float) -> Self:
        """Raises OSError when the key cannot be read."""
        key = None if api_key_file is None else api_key_file.read_text("utf-8").strip()
        return cls(url, key, silence_s)

    async def close(self) -> None:
        """Ends every stream."""
        self._asking.close()
        await self._streaming.aclose()

    def ask(self, path: str, body: Json | None = None) -> Json:
        """GET, or POST of `body`. Raises UpstreamTrouble."""
        return _object(self.ask_text(path, body))

    def ask_events(self, path: str, body: Json) -> list[Json]:
        """All that the server streams for a POST. Raises UpstreamTrouble."""
        lines = self.ask_text(path, body).splitlines()
        return [event for line in lines if (event := _event(line)) is not None]

    def ask_text(self, path: str, body: Json | None = None) -> str:
        """As `ask`, whatever the reply is written in."""
        try:
            method = "GET" if body is None else "POST"
            reply = self._asking.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise Broken(f"{self.url} does not answer: {_said(error)}") from error
        _check(reply.status_code, reply.headers.get("retry-after"), reply.text)
        return reply.text

    async def is_well(self, path: str) -> bool:
        """Whether GET of a health path succeeds in time."""
        try:
            return (await self._streaming.get(path, timeout=_CONNECT_S)).is_success
        except httpx2.HTTPError:
            return False

    async def events(self, path: str, body: Json) -> AsyncGenerator[Json, None]:
        """What the server sends for a POST; closing the iterator closes the request there.

        Raises UpstreamTrouble.
        """
        try:
            async with self._streaming.stream("POST", path, json=body) as reply:
                if not reply.is_success:
                    text = (await reply.aread()).decode("utf-8", "replace")
                    _check(reply.status_code, reply.headers.get("retry-after"), text)
                if not body.get("stream"):
                    yield _object((await reply.aread()).decode("utf-8", "replace"))
                    return
                async for line in reply.aiter_lines():
                    if (event := _event(line)) is not None:
                        yield event
        except httpx2.HTTPError as error:
            raise Broken(f"the stream broke: {_said(error)}") from error


def _check(status: int, retry_after: str | None, text: str) -> None:
    if status < 400:
        return
    message = f"HTTP {status}: {_message(text)}"
    if status == 404:
        raise Missing(message)
    if status in _REFUSALS:
        raise Refused(message)
    if status in _BUSY:
        raise Busy(message, _seconds(retry_after))
    raise Broken(message)


def _event(line: str) -> Json | None:
    """None for lines without one."""
    if not line.startswith("data:") or line.strip() == "data: [DONE]":
        return None
    text = line.removeprefix("data:")
    event = _object(text)
    if "error" in event:  # servers have no other way to say so once a stream has begun
        raise Broken(_message(text))
    return event


def _object(text: str) -> Json:
    """Some health and count endpoints say nothing, which is fine."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Garbled(f"sent what is no JSON: {text.strip()[:80]!r}") from error
    return found if isinstance(found, dict) else {"value": found}


def _message(text: str) -> str:
    """What an error reply says; the servers wrap it differently."""
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    if isinstance(found, dict):
        found = found.get("error", found.get("detail", found.get("message", found)))
    if isinstance(found, dict):
        found = found.get("message", found)
    return " ".join(str(found).split())[:_MAX_MESSAGE]


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:  # a date
        return 0.0


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
