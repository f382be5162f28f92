"""Spans by hand: what is passed on, what is recorded, and what a failure tells of itself."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from ponder.trace_context import TRACEPARENT, TRACESTATE, trace_id
from ponder.tracing import UNTRACED, Tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter):
    return Tracing(provider(exporter))


def provider(exporter, share: float = 0.0):
    """Samples what the parent samples, and this share of the rest."""
    tracers = TracerProvider(ParentBasedTraceIdRatio(share))
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    return tracers


def begin(tracing, header=SAMPLED):
    return tracing.begin("request", SpanKind.SERVER, [(TRACEPARENT, header)])


def test_a_span_joins_the_trace_of_its_caller_and_passes_it_on(tracing, exporter):
    with begin(tracing) as trace, trace.child("segment", SpanKind.CLIENT) as child:
        ((key, header),) = child.metadata

    segment, request = exporter.get_finished_spans()
    assert request.parent.span_id == int(SPAN, 16)
    assert segment.parent.span_id == request.context.span_id
    assert key == TRACEPARENT
    assert header == f"00-{TRACE}-{segment.context.span_id:016x}-01"


def test_what_is_not_sampled_records_nothing_and_says_so_to_the_next(tracing, exporter):
    with begin(tracing, NOT_SAMPLED) as trace, trace.child("segment") as child:
        child.note(lambda: pytest.fail("made attributes for nobody"))
        child.past("queue", 1, 2)
        ((_, header),) = child.metadata

    assert exporter.get_finished_spans() == ()
    assert header.startswith(f"00-{TRACE}-")
    assert header.endswith("-00")


@pytest.mark.parametrize("header", [SAMPLED, NOT_SAMPLED])
@pytest.mark.parametrize("is_on", [True, False])
def test_the_tracestate_goes_on_to_the_next(exporter, header, is_on):
    """Of several headers the members are one list; how a caller's vendor samples may be in it."""
    tracing = Tracing(provider(exporter) if is_on else NoOpTracerProvider())
    states = ["congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7"]
    sent = [(TRACEPARENT, header), *((TRACESTATE, state) for state in states)]
    with tracing.begin("request", SpanKind.SERVER, sent) as trace, trace.child("segment") as child:
        passed = dict(child.metadata)

    assert passed[TRACESTATE] == ",".join(states)
    assert passed[TRACEPARENT].startswith(f"00-{TRACE}-")


@pytest.mark.parametrize("state", ["", "x=\u00e9", "a=b\n", "k=" + "v" * 511])
def test_a_tracestate_that_no_call_could_carry_ends(state):
    tracing = Tracing(NoOpTracerProvider())
    sent = [(TRACEPARENT, SAMPLED), (TRACESTATE, state)]

    assert tracing.begin("request", SpanKind.SERVER, sent).metadata == ((TRACEPARENT, SAMPLED),)


def test_without_exporters_the_callers_header_passes_as_it_came():
    tracing = Tracing(NoOpTracerProvider())

    assert begin(tracing, SAMPLED).child("segment").metadata == ((TRACEPARENT, SAMPLED),)
    assert tracing.begin("request", SpanKind.SERVER, ()) is UNTRACED


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{SPAN}-01", "\x00"])
def test_a_header_that_is_none_begins_a_trace_of_its_own(exporter, header):
    tracing = Tracing(provider(exporter, share=1.0))
    with begin(tracing, header):
        pass

    (span,) = exporter.get_finished_spans()
    assert span.parent is None


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"{SAMPLED}\n", "00-é"]
)
def test_without_exporters_a_header_that_is_none_ends(header):
    assert begin(Tracing(NoOpTracerProvider()), header) is UNTRACED


async def test_a_task_works_for_the_trace_and_so_do_those_that_it_begins(tracing):
    before = trace_id()

    async def work_of(header):
        begin(tracing, header)
        await asyncio.sleep(0)
        return await asyncio.create_task(asyncio.to_thread(trace_id))

    other = f"00-{'1' * 32}-{SPAN}-01"

    found = await asyncio.gather(work_of(SAMPLED), work_of(other))

    assert list(found) == [TRACE, "1" * 32]
    assert trace_id() == before


def test_a_failure_is_told_by_its_type_and_never_by_its_text(tracing, exporter):
    with pytest.raises(ValueError, match="secret"), begin(tracing) as trace, trace.child("decide"):
        raise ValueError("secret")

    for span in exporter.get_finished_spans():
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == "ValueError"
        assert "secret" not in span.to_json()


def refuse(trace):
    trace.fail("RESOURCE_EXHAUSTED")
    raise ValueError("refused")


def test_a_reason_that_was_given_stands(tracing, exporter):
    with pytest.raises(ValueError, match="refused"), begin(tracing) as trace:
        refuse(trace)

    (span,) = exporter.get_finished_spans()
    assert span.attributes["error.type"] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit])
def test_a_cancelled_span_is_no_failure(tracing, exporter, kind):
    with pytest.raises(kind), begin(tracing):
        raise kind

    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["ponder.cancelled"] is True


def test_a_span_of_the_past_keeps_its_times(tracing, exporter):
    with begin(tracing) as trace:
        trace.past("queue", 1_000, 2_000)

    queue, _ = exporter.get_finished_spans()
    assert (queue.start_time, queue.end_time) == (1_000, 2_000)
