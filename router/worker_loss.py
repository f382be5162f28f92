"""How a worker can fail a segment, and whether it went down with it."""

import asyncio
import contextlib
from typing import Final

import grpc

from ponder import rpc

# The call that fails with a connection may be known to have failed a little before the other.
_CONNECTION_FOLLOWS_S: Final = 0.1


class WorkerLost(Exception):
    """The worker went away or failed; whatever it had not sent is lost.

    `is_crash`: unexpectedly, after it had begun with the segment.
    """

    def __init__(self, text: str, *, is_crash: bool = False) -> None:
        super().__init__(text)
        self.is_crash = is_crash


class WorkerSilent(Exception):
    """The worker's reports stopped coming, though nothing says that it went away."""


class WorkerRefused(Exception):
    """The worker did not take the segment. `status` is its gRPC status, the text its reason."""

    def __init__(self, status: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.status = status


REFUSALS: Final = (
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


def was_accepted(error: grpc.aio.AioRpcError) -> bool:
    """Whether the worker lived to say that it had taken the segment that it then failed."""
    return rpc.ACCEPTED in tuple(error.trailing_metadata() or ())


class Connection:
    """Tells whether a worker went down under a call: the connection was up, and then was not.

    A worker that crashes at once has no time to say that it had taken the segment, and what it has
    said may be unread when the call fails: then gRPC has forgotten it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Before the call begins."""
        self._channel = channel
        self._was_up = channel.get_state() is grpc.ChannelConnectivity.READY

    async def was_lost(self) -> bool:
        """After the call has failed. Over a connection that stays none is cut off."""
        if not self._was_up:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONNECTION_FOLLOWS_S):
                await self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
                return True
        return False
