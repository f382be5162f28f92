"""Traces across processes: spans by hand, the headers of W3C in the metadata of each call.

Instrumentation of gRPC would double the CPU of a call, so the few spans that say something are made
by hand, and of a request that is not sampled nothing is made but the header that says so. A span
holds numbers and names, never a prompt, thinking, an answer or the text of an exception.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, Self

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    TracerProvider,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ponder.trace_context import CallMetadata as CallMetadata
from ponder.trace_context import Metadata as Metadata
from ponder.trace_context import passed_on, work_for

P = ParamSpec("P")
Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]

ERROR_TYPE: Final = "error.type"
CANCELLED: Final = "ponder.cancelled"
_SCOPE: Final = "ponder"
_W3C: Final = TraceContextTextMapPropagator()


class Trace(Protocol):
    """One span of a request. Leaving it as a context manager ends it.

    An exception that passes marks it as failed by its type alone, a cancellation as cancelled.
    """

    @property
    def metadata(self) -> Metadata:
        """What a call within this span sends along."""
        ...

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> "Trace":
        """A span within this one, begun now."""
        ...

    def past(self, name: str, start_ns: int, end_ns: int) -> None:
        """A span within this one that is over already. Unix times in nanoseconds."""
        ...

    def note(self, make: Callable[P, Attributes], *args: P.args, **kwargs: P.kwargs) -> None:
        """Adds the attributes that `make` returns; it is called only when they are recorded."""
        ...

    def fail(self, reason: str) -> None:
        """Marks it as failed. `reason` is from a closed set, such as the name of a gRPC status."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Unrecorded:
    """Of a request that is not sampled: passes on the header, does nothing else."""

    __slots__ = ("_metadata",)

    def __init__(self, metadata: Metadata = ()) -> None:
        self._metadata = metadata

    @property
    def metadata(self) -> Metadata:
        """See Trace."""
        return self._metadata

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> Trace:
        """See Trace."""
        return self

    def past(self, name: str, start_ns: int, end_ns: int) -> None:
        """See Trace."""

    def note(self, make: Callable[P, Attributes], *args: P.args, **kwargs: P.kwargs) -> None:
        """See Trace."""

    def fail(self, reason: str) -> None:
        """See Trace."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


UNTRACED: Final = Unrecorded()
"""For what runs outside of any call."""


class Recorded:
    """A span that will be exported."""

    __slots__ = ("_context", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span, Context())

    @property
    def metadata(self) -> Metadata:
        """See Trace."""
        return _headers(self._context)

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> Trace:
        """See Trace."""
        return Recorded(self._tracer, self._tracer.start_span(name, self._context, kind))

    def past(self, name: str, start_ns: int, end_ns: int) -> None:
        """See Trace."""
        span = self._tracer.start_span(name, self._context, start_time=start_ns)
        span.end(end_ns)

    def note(self, make: Callable[P, Attributes], *args: P.args, **kwargs: P.kwargs) -> None:
        """See Trace."""
        self._span.set_attributes(make(*args, **kwargs))

    def fail(self, reason: str) -> None:
        """See Trace."""
        self._span.set_attribute(ERROR_TYPE, reason)
        self._span.set_status(StatusCode.ERROR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._tell(kind)
        self._span.end()

    def _tell(self, kind: type[BaseException]) -> None:
        if issubclass(kind, asyncio.CancelledError | GeneratorExit):
            self._span.set_attribute(CANCELLED, True)
        elif self._has_no_reason():
            self.fail(kind.__name__)

    def _has_no_reason(self) -> bool:
        status: Any = getattr(self._span, "status", None)
        return status is None or status.status_code is not StatusCode.ERROR


class Tracing:
    """Begins the spans of one process. Sampling is the provider's: OTEL_TRACES_SAMPLER."""

    def __init__(self, provider: TracerProvider) -> None:
        # Without exporters a caller's header is passed on as it came, and nothing is drawn.
        self._is_on = isinstance(provider, SdkTracerProvider)
        self._tracer = provider.get_tracer(_SCOPE)

    def begin(self, name: str, kind: SpanKind, metadata: CallMetadata = ()) -> Trace:
        """A span of the trace that a call's metadata names; of a new one when it names none. The
        task works for it from now on.
        """
        trace = self._begun(name, kind, passed_on(metadata))
        work_for(trace.metadata)
        return trace

    def _begun(self, name: str, kind: SpanKind, headers: Metadata) -> Trace:
        if not self._is_on:
            return Unrecorded(headers) if headers else UNTRACED
        context = _W3C.extract(dict(headers), Context())
        span = self._tracer.start_span(name, context, kind)
        if not span.is_recording():
            return Unrecorded(_headers(set_span_in_context(span, Context())))
        return Recorded(self._tracer, span)


def _headers(context: Context) -> Metadata:
    headers: dict[str, str] = {}
    _W3C.inject(headers, context)
    return tuple(headers.items())
