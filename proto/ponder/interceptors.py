"""What stands between gRPC and every handler of ours: no leaked exception text, no bytes that are
no message, calls counted.

Installed by ponder/rpc.py.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

_log = logging.getLogger(__name__)

# gRPC leaves the message types of a method open here.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"


# (request streaming, response streaming): the handler's attribute, and what makes such a handler.
_KINDS: Mapping[tuple[bool, bool], tuple[str, Any]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


_UNREADABLE: Final = object()
_UNREADABLE_REMEDY: Final = (
    "request: its bytes are no valid message of this method; every text must be UTF-8"
)


class ActiveCalls:
    """How many calls run, endless ones aside: those that a drain waits for."""

    def __init__(self, endless_methods: frozenset[str]) -> None:
        self._endless_methods = endless_methods
        self._num_running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def count(self, method: str) -> Iterator[None]:
        """Counts the call for the duration of the block."""
        if method in self._endless_methods:
            yield
            return
        self._num_running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._num_running -= 1
            if not self._num_running:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        await self._idle.wait()


class CallGuard(grpc.aio.ServerInterceptor):
    """Counts every call, and ends it as INTERNAL without a word when its handler raises.

    gRPC by itself sends the text of the exception to the client; here it goes to the log only.
    Bytes that are no message it answers with UNKNOWN, as if that were our fault; here it is the
    caller's.
    """

    def __init__(self, calls: ActiveCalls) -> None:
        self._calls = calls

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        name, make = _KINDS[handler.request_streaming, handler.response_streaming]
        inner = getattr(handler, name)
        # A streaming handler is an async generator, or a coroutine that calls context.write.
        guard = self._guard_generator if inspect.isasyncgenfunction(inner) else self._guard
        rebuilt: Handler = make(
            guard(inner, handler_call_details.method),
            request_deserializer=_forgiving(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return rebuilt

    def _guard(self, inner: Any, method: str) -> Any:
        async def behavior(request: Any, context: Context) -> Any:
            with self._calls.count(method):
                await _refuse_unreadable(request, context)
                try:
                    return await inner(request, context)
                except Exception as error:  # noqa: BLE001 - the outermost loop of a request
                    await _end_as_internal(error, method, context)

        return behavior

    def _guard_generator(self, inner: Any, method: str) -> Any:
        async def behavior(request: Any, context: Context) -> AsyncIterator[Any]:
            with self._calls.count(method):
                await _refuse_unreadable(request, context)
                try:
                    async for reply in inner(request, context):
                        yield reply
                except Exception as error:  # noqa: BLE001 - the outermost loop of a request
                    await _end_as_internal(error, method, context)

        return behavior


def _forgiving(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def read(serialized: bytes) -> Any:
        try:
            return deserialize(serialized)
        except DecodeError:
            return _UNREADABLE

    return read


async def _refuse_unreadable(request: Any, context: Context) -> None:
    if request is _UNREADABLE:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _UNREADABLE_REMEDY)


async def _end_as_internal(error: Exception, method: str, context: Context) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, grpc.aio.BaseError):  # the caller went before its status could be sent
        return
    _log.error("%s failed", method, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error")
