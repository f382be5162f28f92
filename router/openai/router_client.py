"""The router as the front door sees it: its public API, its health, its errors translated."""

import logging
import math
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.tls import Dialler
from ponder.trace_context import Metadata
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1 import reasoner_pb2_grpc
from router.openai.errors import ApiError, from_status, unreachable

_log = logging.getLogger(__name__)
_SERVICE: Final = pb.DESCRIPTOR.services_by_name["Reasoner"].full_name
_HEALTH_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose call it is, the trace that it belongs to, and when it must be over, in seconds of
    time.monotonic.
    """

    authorization: str | None
    deadline_at_s: float
    trace: Metadata = ()

    @property
    def left_s(self) -> float:
        return max(0.0, self.deadline_at_s - time.monotonic())

    @property
    def metadata(self) -> Metadata:
        key = (("authorization", self.authorization),) if self.authorization else ()
        return (*key, *self.trace)


class RouterClient:
    """Every method raises ApiError. Cancelling one cancels its call."""

    def __init__(self, channel: grpc.aio.Channel, retry_after_s: int) -> None:
        self._channel = channel
        self._retry_after_s = retry_after_s
        self._stub: reasoner_pb2_grpc.ReasonerAsyncStub = reasoner_pb2_grpc.ReasonerStub(channel)
        # The stubs of the package lack Check.
        self._health: Any = health_pb2_grpc.HealthStub(channel)

    async def plan(self, request: pb.ReasonRequest, caller: Caller) -> pb.Decision:
        """What the router would decide."""
        with self._translated():
            reply: pb.PlanReply = await self._stub.Plan(
                pb.PlanRequest(request=request), metadata=caller.metadata, timeout=caller.left_s
            )
        return reply.decision

    async def reason(self, request: pb.ReasonRequest, caller: Caller) -> pb.ReasonReply:
        """The whole reply."""
        with self._translated():
            reply: pb.ReasonReply = await self._stub.Reason(
                request, metadata=caller.metadata, timeout=caller.left_s
            )
        return reply

    async def stream(
        self, request: pb.ReasonRequest, caller: Caller
    ) -> AsyncGenerator[pb.ReasonEvent, None]:
        """The events of the reply; closing it cancels the call."""
        call = self._stub.ReasonStream(request, metadata=caller.metadata, timeout=caller.left_s)
        try:
            with self._translated():
                async for event in call:
                    yield event
        finally:
            call.cancel()

    async def is_serving(self) -> bool:
        """Whether a router answers and has workers."""
        request = health_pb2.HealthCheckRequest(service=_SERVICE)
        try:
            reply = await self._health.Check(request, timeout=_HEALTH_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise self._api_error(error) from error

    def _api_error(self, error: grpc.aio.AioRpcError) -> ApiError:
        details = error.details() or ""
        if error.code() is grpc.StatusCode.UNAVAILABLE and not self._is_connected():
            # What gRPC says here are addresses of this deployment.
            _log.warning("no router: %s", details)
            return unreachable(self._retry_after_s)
        return from_status(error.code(), details, max(_hint_s(error), self._retry_after_s))

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY


def _hint_s(error: grpc.aio.AioRpcError) -> int:
    """In how many seconds the router expects to have room; 0: it does not say."""
    hint = dict(error.trailing_metadata() or ()).get(rpc.RETRY_AFTER_KEY)
    if not isinstance(hint, str) or not (hint.isascii() and hint.isdecimal()):
        return 0
    return math.ceil(int(hint) / 1e3)


def open_channel(address: str, dialler: Dialler | None = None) -> grpc.aio.Channel:
    """Uses every address of the name in turn. The caller closes it. None: without TLS."""
    turns = ("grpc.lb_policy_name", "round_robin")
    return (dialler or Dialler()).open(address, (*rpc.channel_options(), turns))
