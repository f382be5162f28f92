"""The gRPC code that router and workers share: serve with health and drain, channels, deadlines."""

import asyncio
import signal
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ponder.interceptors import ActiveCalls, CallGuard

# A peer that hangs is noticed after keepalive + timeout, 3 s at most. The keepalive timeout alone
# does nothing: gRPC waits ping_timeout_ms for the acknowledgement, 60 s unless told otherwise.
KEEPALIVE_MS = 2_000
PING_TIMEOUT_MS = 1_000
# Pings that come faster than this are the client's fault; less than KEEPALIVE_MS, for jitter.
MIN_PING_INTERVAL_MS = 1_000
MAX_MESSAGE_BYTES = 16 << 20
# Of one call: gRPC's own limits, set so that they cannot change unseen. From the first on a call
# may be refused, from the second on it is.
MAX_METADATA_BYTES = 8 << 10
ABSOLUTE_MAX_METADATA_BYTES = 16 << 10
# Trailing metadata of a refusal that will pass: after how many milliseconds to come again.
RETRY_AFTER_KEY = "retry-after-ms"
# Trailing metadata of a Think that the worker had taken before it failed it.
ACCEPTED: tuple[str, str] = ("ponder-accepted", "1")
# After the last call ended its reply may still be on its way.
_FLUSH_S = 1.0
_HEALTH_WATCH = "/grpc.health.v1.Health/Watch"

Options = Sequence[tuple[str, Any]]


class BindError(Exception):
    """The address cannot be listened on: in use, or not one of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """`address` is host:port (port 0: any free one) or unix:path. Times in seconds.

    `endless_methods` are full method names of streams that never end by themselves; a drain does
    not wait for them. `notice_s` is how long callers are given to see NOT_SERVING and go elsewhere.
    A message above `max_message_bytes` is refused before it is read.
    """

    address: str
    services: tuple[str, ...]
    endless_methods: tuple[str, ...] = ()
    reflection: bool = False
    credentials: grpc.ServerCredentials | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    notice_s: float = 1.0
    grace_s: float = 30.0


class RpcServer:
    """A gRPC server with health per service, NOT_SERVING until set_serving and from drain on.

    Handlers are added to `grpc_server` before start. Built inside a running event loop.
    """

    def __init__(self, config: ServerConfig) -> None:
        """Raises BindError."""
        self._config = config
        self._calls = ActiveCalls(frozenset((_HEALTH_WATCH, *config.endless_methods)))
        # True once a drain cancels calls that still run: their callers may go on elsewhere.
        self.gives_up_calls = False
        self.is_draining = False
        self._is_well: bool | None = None  # None before set_serving
        self._health = health.aio.HealthServicer()
        self.grpc_server = grpc.aio.server(
            interceptors=[CallGuard(self._calls)],
            options=server_options(config.max_message_bytes),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc_server)
        if config.reflection:
            names = (*config.services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self.grpc_server)
        self.port = self._bind()

    async def start(self) -> None:
        """Accepts calls; health says NOT_SERVING."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self.grpc_server.start()

    async def set_serving(self) -> None:
        """Says that the services can do their work now."""
        self._is_well = True
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def follow(self, is_well: bool) -> None:
        """NOT_SERVING while what the services depend on is not well; nothing before set_serving."""
        if self._is_well is None or is_well == self._is_well:
            return
        self._is_well = is_well
        statuses = health_pb2.HealthCheckResponse
        await self._set_health(statuses.SERVING if is_well else statuses.NOT_SERVING)

    async def drain(self, hurry: asyncio.Event | None = None) -> None:
        """Turns new calls away and returns when the running ones have ended, or after grace_s.

        Setting `hurry` cancels them at once.
        """
        hurried = asyncio.create_task((hurry or asyncio.Event()).wait())
        self.is_draining = True
        try:
            await self._health.enter_graceful_shutdown()
            await asyncio.wait([hurried], timeout=self._config.notice_s)
            await self._stop(hurried)
        finally:
            hurried.cancel()

    async def _stop(self, hurried: asyncio.Task[bool]) -> None:
        grace_s = self._config.grace_s
        # Longer than the grace: who gives up the calls after it is known before they end.
        stopped = asyncio.create_task(self.grpc_server.stop(grace_s + _FLUSH_S))
        idle = asyncio.create_task(self._calls.wait_until_idle())
        try:
            await asyncio.wait(
                [idle, hurried], timeout=grace_s, return_when=asyncio.FIRST_COMPLETED
            )
            self.gives_up_calls = not idle.done()
            await self.grpc_server.stop(None if self.gives_up_calls else _FLUSH_S)
            await stopped
        finally:
            idle.cancel()

    async def _set_health(self, status: int) -> None:
        for service in ("", *self._config.services):
            await self._health.set(service, status)

    def _bind(self) -> int:
        address, credentials = self._config.address, self._config.credentials
        try:
            if credentials is None:
                return self.grpc_server.add_insecure_port(address)
            return self.grpc_server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise BindError(
                f"cannot listen on {address}: in use, or not an address of this machine"
            ) from error


async def serve(server: RpcServer, ready: Awaitable[object] | None = None) -> None:
    """Starts, awaits `ready`, serves until SIGTERM or SIGINT, drains. A second signal hurries.

    A signal cancels `ready`; when `ready` raises, the server stops and the exception goes on.
    """
    first, second = asyncio.Event(), asyncio.Event()
    with _on_stop_signals(first, second):
        # From here on: who sees the server listen may send a signal at once.
        await server.start()
        try:
            await _serve_until(first, server, ready)
        except BaseException:
            second.set()
            raise
        finally:
            await server.drain(second)


async def _serve_until(
    stop: asyncio.Event, server: RpcServer, ready: Awaitable[object] | None
) -> None:
    stopping = asyncio.create_task(stop.wait())
    preparing = asyncio.ensure_future(ready) if ready is not None else None
    try:
        if preparing is not None:
            await asyncio.wait([preparing, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not preparing.done():
                return
            preparing.result()
        await server.set_serving()
        await stopping
    finally:
        stopping.cancel()
        if preparing is not None and preparing.cancel():
            await asyncio.wait([preparing])


def open_channel(
    address: str, credentials: grpc.ChannelCredentials | None = None
) -> grpc.aio.Channel:
    """A channel that notices a hung peer within 3 s. The caller closes it."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=channel_options())
    return grpc.aio.secure_channel(address, credentials, options=channel_options())


def channel_options() -> Options:
    """For the client's side."""
    return (
        *_common_options(),
        ("grpc.http2.max_pings_without_data", 0),
        # An http_proxy variable would else send even calls to this machine through the proxy.
        ("grpc.enable_http_proxy", 0),
    )


def server_options(max_message_bytes: int = MAX_MESSAGE_BYTES) -> Options:
    """For the server's side. Without so_reuseport=0 two servers could share one port unnoticed."""
    return (
        *_common_options(max_message_bytes),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", ABSOLUTE_MAX_METADATA_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    )


class HasDeadline(Protocol):
    """What a servicer context tells of its deadline."""

    def time_remaining(self) -> float | None: ...


def remaining_s(context: HasDeadline, margin_s: float = 0.0) -> float | None:
    """Time for a call onwards: what is left minus the margin, not below 0. None: no deadline.

    gRPC does not pass deadlines on by itself.
    """
    left_s = context.time_remaining()
    return None if left_s is None else max(0.0, left_s - margin_s)


def _common_options(max_received_bytes: int = MAX_MESSAGE_BYTES) -> Options:
    return (
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_receive_message_length", max_received_bytes),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    )


@contextmanager
def _on_stop_signals(first: asyncio.Event, second: asyncio.Event) -> Iterator[None]:
    def note() -> None:
        (second if first.is_set() else first).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, note)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
