"""The router's connection to one worker: its channel, its load, and what was sent to it."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from ponder import rpc
from ponder.tracing import Metadata
from ponder.v1 import worker_pb2, worker_pb2_grpc

_log = logging.getLogger(__name__)
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0
# The contract is one report a second; a machine under load may be late.
_LONGEST_SILENCE_S: Final = 5.0
# gRPC by itself waits up to two minutes before it tries an address again.
_RECONNECT: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class WorkerLost(Exception):
    """The worker went away or failed; whatever it had not sent is lost."""


class WorkerRefused(Exception):
    """The worker did not take the segment. `status` is its gRPC status, the text its reason."""

    def __init__(self, status: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.status = status


_REFUSALS: Final = (
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


class WorkerLink:
    """One worker. Alive while its Watch stream delivers."""

    def __init__(self, address: str, rng: random.Random) -> None:
        self.address = address
        self.load: worker_pb2.Load | None = None
        self.outstanding_tokens = 0.0
        self._rng = rng
        self._channel = grpc.aio.insecure_channel(
            address, options=(*rpc.channel_options(), *_RECONNECT)
        )
        self._stub = worker_pb2_grpc.WorkerStub(self._channel)

    @property
    def is_alive(self) -> bool:
        return self.load is not None

    def mark_lost(self) -> None:
        """It failed a call; it is alive again with its next report."""
        self.load = None

    @contextmanager
    def expecting(self, tokens: float) -> Iterator[None]:
        """Counts predicted tokens as outstanding for the duration of the block."""
        self.outstanding_tokens += tokens
        try:
            yield
        finally:
            self.outstanding_tokens -= tokens

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Follows the worker's load until cancelled, through every outage."""
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                async for load in self._reports():
                    retry_s = _FIRST_RETRY_S
                    self.load = load
                    on_change()
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                self._log_loss(error)
            self.load = None
            on_change()
            await asyncio.sleep(retry_s * self._rng.uniform(0.5, 1.0))
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def think(
        self,
        request: worker_pb2.ThinkRequest,
        timeout_s: float,
        on_accepted: Callable[[], None],
        metadata: Metadata = (),
    ) -> AsyncGenerator[worker_pb2.ThinkEvent, None]:
        """Runs one segment. `on_accepted` is called when the worker answers for its settlement;
        leaving early cancels the call. Raises WorkerLost, WorkerRefused.
        """
        call = self._stub.Think(request, timeout=timeout_s, metadata=metadata)
        try:
            await call.initial_metadata()
            if not call.done():
                on_accepted()
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            if error.code() in _REFUSALS:
                raise WorkerRefused(error.code(), error.details() or "") from error
            raise WorkerLost(f"{self.address}: {error.code().name}") from error
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()

    async def _reports(self) -> AsyncIterator[worker_pb2.Load]:
        call = self._stub.Watch(worker_pb2.WatchRequest())
        try:
            while True:
                async with asyncio.timeout(_LONGEST_SILENCE_S):
                    load = await call.read()
                if not isinstance(load, worker_pb2.Load):  # the end of the stream
                    return
                yield load
        finally:
            call.cancel()

    def _log_loss(self, error: Exception) -> None:
        if self.is_alive:
            _log.warning("lost worker %s: %s", self.address, _reason(error))


def _reason(error: Exception) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else "it fell silent"
