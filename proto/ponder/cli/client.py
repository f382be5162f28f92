"""The commands' connection to a router, and its errors in one line each."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

import grpc
from grpc import StatusCode

from ponder import rpc
from ponder.cli import variables
from ponder.environment import ConfigError
from ponder.tls import Dialler, folder_dialler
from ponder.v1 import reasoner_pb2_grpc

API_KEY_HEADER = "authorization"
_CONNECT_TIMEOUT_S = 10.0

_REMEDIES: Mapping[StatusCode, str] = MappingProxyType(
    {
        StatusCode.UNAUTHENTICATED: "give the tenant's key with --api-key or PONDER_API_KEY",
        StatusCode.PERMISSION_DENIED: "ask for less, or use the key of a tenant that may",
        StatusCode.RESOURCE_EXHAUSTED: "the stack is busy: try again shortly, or ask for a lower "
        "tier",
        StatusCode.UNAVAILABLE: "see the router's log for what it misses, then try again",
        StatusCode.DEADLINE_EXCEEDED: "allow more with --timeout, or less thinking with --budget",
        StatusCode.UNIMPLEMENTED: "what listens there is no Ponder router of this version",
        StatusCode.INTERNAL: "see the router's log",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the router is, whose key is used, how long a call may take in seconds, and the folder
    of certificates; empty: without TLS.
    """

    target: str
    api_key: str | None
    timeout_s: float
    tls_dir: str = ""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """To send with every call."""
        return ((API_KEY_HEADER, f"Bearer {self.api_key}"),) if self.api_key else ()


class RequestFailed(Exception):
    """A call failed. `code` is a gRPC status name, `remedy` may be empty."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(f"{code}: {message}" + (f" ({remedy})" if remedy else ""))
        self.code = code
        self.message = message
        self.remedy = remedy


@asynccontextmanager
async def reasoner(connection: Connection) -> AsyncIterator["reasoner_pb2_grpc.ReasonerAsyncStub"]:
    """A stub that is connected. Raises RequestFailed, also for failed calls within the block."""
    async with connected(connection) as channel:
        try:
            yield reasoner_pb2_grpc.ReasonerStub(channel)
        except grpc.aio.AioRpcError as error:
            raise failure(error) from error


@asynccontextmanager
async def connected(connection: Connection) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that has found a server. Raises RequestFailed."""
    opened = dialler(connection).open(connection.target, rpc.channel_options())
    async with opened as channel:
        await _connect(channel, connection)
        yield channel


def dialler(connection: Connection) -> Dialler:
    """Opens the connection's channels. Raises RequestFailed."""
    try:
        return folder_dialler(connection.tls_dir, variables.TLS_DIR)
    except ConfigError as error:
        raise RequestFailed(StatusCode.UNAVAILABLE.name, str(error), "") from error


def failure(error: grpc.aio.AioRpcError) -> RequestFailed:
    """The same in one line, with what the user can do."""
    message = " ".join((error.details() or "no details").split())
    return RequestFailed(error.code().name, message, _REMEDIES.get(error.code(), ""))


async def _connect(channel: grpc.aio.Channel, connection: Connection) -> None:
    """Raises RequestFailed at the first refusal: gRPC itself would go on trying."""
    timeout_s = min(connection.timeout_s, _CONNECT_TIMEOUT_S)
    try:
        async with asyncio.timeout(timeout_s):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    raise _unreachable(connection.target)
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError as error:
        raise _unreachable(connection.target) from error


def _unreachable(target: str) -> RequestFailed:
    return RequestFailed(
        StatusCode.UNAVAILABLE.name,
        f"no router answers at {target}",
        "start one with `ponder up`, or say where it is with --target",
    )
