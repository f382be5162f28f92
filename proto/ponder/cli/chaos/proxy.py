"""A TCP proxy in this process that loses replies and cuts connections, at an address that stays."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from types import TracebackType
from typing import Final, Self

_CHUNK_BYTES: Final = 64 << 10
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Passes bytes on to whatever `connect` reaches now. An async context manager.

    `loss` is the probability with which a chunk that the server sends is lost, and its connection
    with it: the server has done what it was asked, and nobody learns of it.
    """

    def __init__(self, connect: Callable[[], Awaitable[Streams]], rng: Random) -> None:
        self.loss = 0.0
        self.num_lost = 0
        self._connect = connect
        self._rng = rng
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    @property
    def port(self) -> int:
        assert self._server is not None, "not entered"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Ends every connection at once."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            # A server that is not there looks like one that hangs up.
            with contextlib.suppress(OSError):
                there, back = await self._connect()
                self._writers.add(back)
                try:
                    await self._pass_on(reader, writer, there, back)
                finally:
                    self._writers.discard(back)
                    back.close()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Until either side ends."""
        tasks = [
            asyncio.create_task(_copy(reader, back, lambda: False)),
            asyncio.create_task(_copy(there, writer, self._loses)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _loses(self) -> bool:
        lost = self._rng.random() < self.loss
        self.num_lost += lost
        return lost


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses: Callable[[], bool]
) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            if loses():
                return
            writer.write(chunk)
            await writer.drain()
