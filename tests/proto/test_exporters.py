"""OTEL_* variables choose where metrics and spans go, and what the process is called there."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider, SpanKind

from ponder.environment import ConfigError
from ponder.exporters import meter_provider, tracer_provider
from ponder.span_file import SPAN_FILE, read_spans
from ponder.tracing import Tracing

FILE = {"OTEL_TRACES_EXPORTER": "ponder_file"}


def write_span(environ, name="request"):
    tracers = tracer_provider(environ, "ponder-router", "router-1")
    assert isinstance(tracers, TracerProvider)
    with Tracing(tracers).begin(name, SpanKind.SERVER) as trace:
        trace.note(lambda: {"ponder.tier": "simple", "ponder.clamps": ["load"]})
        with trace.child("segment") as child:
            child.fail("UNAVAILABLE")
    tracers.shutdown()


def test_without_a_name_nothing_is_exported():
    assert isinstance(tracer_provider({}, "ponder-router"), NoOpTracerProvider)
    assert not isinstance(tracer_provider({"OTEL_TRACES_EXPORTER": "none"}, "x"), TracerProvider)


@pytest.mark.parametrize("variable", ["OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER"])
def test_an_exporter_that_is_not_installed_is_named(variable):
    make = meter_provider if "METRICS" in variable else tracer_provider
    with pytest.raises(ConfigError, match=f"{variable}='carrier-pigeon'"):
        make({variable: "carrier-pigeon"}, "ponder-router")


def test_several_processes_append_to_one_file(tmp_path, monkeypatch):
    path = tmp_path / "spans.jsonl"
    monkeypatch.setenv(SPAN_FILE, str(path))
    write_span(FILE)
    write_span(FILE)

    spans = list(read_spans(path))
    assert [span.name for span in spans] == ["segment", "request"] * 2
    segment, request = spans[:2]
    assert (segment.trace_id, segment.parent_id) == (request.trace_id, request.span_id)
    assert (segment.is_error, request.is_error, request.parent_id) == (True, False, "")
    assert request.attributes == {"ponder.tier": "simple", "ponder.clamps": ["load"]}
    assert (request.service, request.instance) == ("ponder-router", "router-1")
    assert 0 < request.start_ns <= segment.start_ns <= segment.end_ns <= request.end_ns


def test_what_the_environment_calls_the_process_stands(tmp_path, monkeypatch):
    path = tmp_path / "spans.jsonl"
    told = {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod-7"}
    for name, value in {SPAN_FILE: str(path), **told}.items():
        monkeypatch.setenv(name, value)
    write_span({**FILE, **told})

    assert {(span.service, span.instance) for span in read_spans(path)} == {("mine", "pod-7")}


def test_lines_that_are_no_spans_are_passed_over(tmp_path):
    path = tmp_path / "spans.jsonl"
    path.write_bytes(b'{"half": \n[]\n{"trace_id": "x"}\n\xff\n')

    assert list(read_spans(path)) == []


def test_the_file_must_be_named_and_writable(monkeypatch, tmp_path):
    monkeypatch.delenv(SPAN_FILE, raising=False)
    with pytest.raises(ConfigError, match=SPAN_FILE):
        tracer_provider(FILE, "ponder-router")
    monkeypatch.setenv(SPAN_FILE, str(tmp_path))
    with pytest.raises(ConfigError, match="directory"):
        tracer_provider(FILE, "ponder-router")
