"""The spans of one trace in the order of a picture: each below its parent, by time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ponder.span_file import SpanRecord

REQUEST_ID: Final = "ponder.request_id"
_NS_PER_MS: Final = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """One span. `start_ms` counts from the beginning of the trace."""

    span: SpanRecord
    depth: int
    start_ms: float
    duration_ms: float

    @property
    def label(self) -> str:
        """What it is, and where."""
        attributes = self.span.attributes
        if self.span.name == "segment":
            return f"segment {attributes.get('ponder.segment', '?')}"
        if self.span.name == "work":
            return f"work on {attributes.get('ponder.worker', '?')}"
        return self.span.name

    @property
    def note(self) -> str:
        """What it says beside its time."""
        return ", ".join(_notes(self.span.name, self.span.attributes))


def rows(spans: Iterable[SpanRecord]) -> list[Row]:
    """The spans of one trace. Those whose parent is missing stand at the top."""
    in_order = sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))
    ids = {span.span_id for span in in_order}
    children: dict[str, list[SpanRecord]] = {}
    for span in in_order:
        children.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)
    began_ns = in_order[0].start_ns if in_order else 0
    return list(_below("", 0, began_ns, children))


def find_trace(spans: Iterable[SpanRecord], wanted: str | None) -> list[SpanRecord]:
    """Those of the newest trace, or of the one with this request id or trace id; empty if none."""
    found = list(spans)
    ended = [span for span in found if span.name == "request" and _is(span, wanted)]
    if not ended:
        return []
    trace_id = max(ended, key=lambda span: span.end_ns).trace_id
    return [span for span in found if span.trace_id == trace_id]


def _is(span: SpanRecord, wanted: str | None) -> bool:
    return wanted in (None, span.trace_id, span.attributes.get(REQUEST_ID))


def _below(
    parent_id: str, depth: int, began_ns: int, children: Mapping[str, list[SpanRecord]]
) -> Iterator[Row]:
    for span in children.get(parent_id, ()):
        start_ms = (span.start_ns - began_ns) / _NS_PER_MS
        yield Row(span, depth, start_ms, (span.end_ns - span.start_ns) / _NS_PER_MS)
        yield from _below(span.span_id, depth + 1, began_ns, children)


def _notes(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    if name == "request" and "ponder.tier" in told:
        used, budget = (
            told.get("gen_ai.usage.reasoning.output_tokens"),
            told["ponder.budget_tokens"],
        )
        yield f"{told['ponder.tier']}, {used} of {budget} thinking tokens"
        yield str(told.get("ponder.thinking.stop", ""))
    elif name == "decide" and "ponder.tier" in told:
        yield f"{told['ponder.tier']}, up to {told['ponder.budget_tokens']}"
    elif name == "segment":
        yield f"{told.get('ponder.pool')} pool, {told.get('ponder.segment.ended')}"
        yield f"{told.get('ponder.thinking_tokens')} tokens thought"
    elif name == "work" and "ponder.thinking.stop" in told:
        yield str(told["ponder.thinking.stop"])
