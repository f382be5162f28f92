"""Listens, serves until SIGTERM, and lets what runs come to its end."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
import uvicorn

from ponder.rpc import BindError
from ponder.tls import folder_dialler
from router.openai.app import build_app
from router.openai.config import DoorConfig
from router.openai.router_client import RouterClient, open_channel

# A request line and headers that have not ended by then are refused.
_MAX_HEADER_BYTES: Final = 16 << 10


class DoorServer(uvicorn.Server):
    """Signals are left to run(): uvicorn raises them again, and a clean stop looks like a kill."""

    def stop(self) -> None:
        """Takes no more requests and lets running ones end; called again it gives those up."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(config: DoorConfig, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT. Raises ConfigError."""
    loop = asyncio.get_running_loop()
    dialler = folder_dialler(config.router_tls_dir, "OPENAI_DOOR_ROUTER_TLS_DIR")
    async with open_channel(config.router, dialler) as channel:
        server = build_server(config, channel)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.serve(sockets=[listening])


def bind(address: str) -> socket.socket:
    """A listening socket for host:port. Raises ponder.rpc.BindError."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise BindError(f"cannot listen on {address}: {error.strerror}") from error
    # Connections inherit it. A reply is written in pieces, and each would wait for the client's
    # delayed acknowledgement of the one before, 40 ms; asyncio sets it only on sockets it opened.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def build_server(config: DoorConfig, channel: grpc.aio.Channel) -> DoorServer:
    """The front door for the router behind the channel."""
    settings = uvicorn.Config(
        build_app(RouterClient(channel, config.retry_after_s), config),
        # The parser that bounds what it keeps of a request before its headers have ended.
        http="h11",
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=config.max_connections,
        timeout_graceful_shutdown=config.drain_grace_s,
    )
    return DoorServer(settings)
