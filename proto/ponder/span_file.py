"""Spans as JSON lines in a file that several processes may share: the exporter `ponder_file`.

For a stack on one machine and for pictures of single requests; a deployment sends spans by OTLP.
The file is named by PONDER_SPAN_FILE. Written by the SDK's export thread, read by `ponder spans`.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id

from ponder.environment import ConfigError

SPAN_FILE: Final = "PONDER_SPAN_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """One span that is over. Times are unix nanoseconds; `parent_id` is empty for the first."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    instance: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, span: ReadableSpan) -> Self:
        context = span.get_span_context()
        assert context is not None
        assert span.start_time is not None
        assert span.end_time is not None, "only spans that are over are exported"
        resource = span.resource.attributes
        return cls(
            trace_id=format_trace_id(context.trace_id),
            span_id=format_span_id(context.span_id),
            parent_id=format_span_id(span.parent.span_id) if span.parent else "",
            name=span.name,
            service=str(resource.get(SERVICE_NAME, "")),
            instance=str(resource.get(SERVICE_INSTANCE_ID, "")),
            start_ns=span.start_time,
            end_ns=span.end_time,
            is_error=not span.status.is_ok,
            attributes=dict(span.attributes or {}),
        )

    def to_json(self) -> str:
        """One line, without a line break in it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(values, separators=(",", ":"))


class FileSpanExporter(SpanExporter):
    """Appends each batch with one write, so that processes do not cut each other's lines."""

    def __init__(self) -> None:
        """Raises ConfigError."""
        path = os.environ.get(SPAN_FILE, "")
        if not path:
            raise ConfigError(f"{SPAN_FILE} must be set: the file that ponder_file writes spans to")
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"{SPAN_FILE}={path!r}: {error.strerror}") from error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Never raises: a full disk costs the spans alone."""
        lines = "".join(f"{SpanRecord.of(span).to_json()}\n" for span in spans)
        try:
            os.write(self._file, lines.encode())
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        os.close(self._file)


def read_spans(path: Path) -> Iterator[SpanRecord]:
    """The spans of a file; lines that are none of ours are passed over. Raises OSError."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield SpanRecord(**json.loads(line))
            except (TypeError, ValueError):
                continue
