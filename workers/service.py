"""The Worker service: checks a request, hands it to a segment, passes on what comes.

It only translates. Statuses: INVALID_ARGUMENT names the field, RESOURCE_EXHAUSTED means that too
many wait here, UNAVAILABLE that the engine has ended and another worker should go on, INTERNAL
that the engine could not go on with this request and says where and why.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from ponder import rpc
from ponder.v1 import worker_pb2, worker_pb2_grpc
from workers.engine import EngineStopped, InvalidRequest, QueueFull, RequestFailed
from workers.errors import InvalidArgument
from workers.load import LoadFeed
from workers.segment import Cut
from workers.segments import Segments
from workers.validation import Limits, check

SERVICE = worker_pb2.DESCRIPTOR.services_by_name["Worker"].full_name
ENDLESS_METHODS = (f"/{SERVICE}/Watch",)

Context = grpc.aio.ServicerContext[Any, Any]
_STATUSES: dict[type[Exception], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    EngineStopped: grpc.StatusCode.UNAVAILABLE,
    RequestFailed: grpc.StatusCode.INTERNAL,
}


class WorkerService(worker_pb2_grpc.WorkerServicer):
    """Serves Think and Watch. `gives_up_calls` says that it is the server itself that calls end
    by, or may be: others take their requests over and settle them.
    """

    def __init__(
        self,
        segments: Segments,
        feed: LoadFeed,
        limits: Limits,
        gives_up_calls: Callable[[], bool],
    ) -> None:
        self._segments = segments
        self._feed = feed
        self._limits = limits
        self._gives_up_calls = gives_up_calls

    async def Think(
        self, request: worker_pb2.ThinkRequest, context: Context
    ) -> AsyncIterator[worker_pb2.ThinkEvent]:
        try:
            check(request, self._limits)
        except InvalidArgument as error:
            await context.abort(_STATUSES[InvalidArgument], str(error))
        metadata = context.invocation_metadata()
        segment = self._segments.start(request, rpc.remaining_s(context), metadata)
        is_complete = False

        # Called however the call ends, also when it is cancelled while a reply is being sent.
        def end_call(_: Any) -> None:
            segment.end_call(None if is_complete else self._cut_of(context))

        context.add_done_callback(end_call)  # type: ignore[arg-type] # the stubs want a class
        # From here on the worker answers for the settlement; the router sees that by the metadata.
        context.set_trailing_metadata((rpc.ACCEPTED,))
        await context.send_initial_metadata(())
        self._feed.notify()
        try:
            async for event in segment.events():
                yield event
            is_complete = True
        except tuple(_STATUSES) as error:
            await context.abort(*_status_of(error))

    async def Watch(
        self, request: worker_pb2.WatchRequest, context: Context
    ) -> AsyncIterator[worker_pb2.Load]:
        async for load in self._feed.reports():
            yield load

    def _cut_of(self, context: Context) -> Cut:
        if self._gives_up_calls():
            return Cut.WORKER
        remaining_s = rpc.remaining_s(context)
        return Cut.DEADLINE if remaining_s == 0 else Cut.CALLER


def _status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    code = _STATUSES[type(error)]
    if code is grpc.StatusCode.UNAVAILABLE:
        return code, "the engine has stopped; ask another worker"
    return code, str(error)
