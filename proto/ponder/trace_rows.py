"""A trace as one flat row: what `ponder traces` writes, and what it reads back.

TRACE_FIELDS is the schema, field by field, of the Parquet files and of the JSON lines alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final, Literal

from ponder.settlement import Settlement
from ponder.v1.budget_pb2 import FinishReason, Pool, ThinkingStop, Tier, Usage
from ponder.v1.reasoner_pb2 import Rule

TRACE_SCHEMA_VERSION: Final = 1
"""Of TRACE_FIELDS. To be raised when a field changes its meaning or goes."""

Kind = Literal["text", "count", "large count", "real", "reals", "ids"]


@dataclass(frozen=True, slots=True)
class TraceField:
    """One column. Only columns that say so may be null."""

    name: str
    kind: Kind
    meaning: str
    nullable: bool = False


TRACE_FIELDS: Final = (
    TraceField("trace_id", "text", "id in the stream of the ledger; unique per model, rising"),
    TraceField("finished_at_s", "real", "unix time at which the request ended, seconds"),
    TraceField("request_id", "text", "unique per model and tenant"),
    TraceField("tenant", "text", "whose request it was"),
    TraceField("model", "text", "the reasoning model"),
    TraceField("tier", "text", "Tier by name: the tier that was reached"),
    TraceField("pool", "text", "Pool by name, of the last segment"),
    TraceField("rule", "text", "Rule by name: what decided the budget"),
    TraceField("budget_tokens", "count", "thinking tokens allowed, escalations included"),
    TraceField("thinking_tokens", "count", "thinking tokens spent, over all segments"),
    TraceField("stop", "text", "ThinkingStop by name: why the thinking ended"),
    TraceField("finish_reason", "text", "FinishReason by name: why the answer ended"),
    TraceField("prompt_tokens", "count", "tokens of the rendered prompt"),
    TraceField("forced_tokens", "count", "tokens fed by the worker: wrap-up text, closing marker"),
    TraceField("probe_tokens", "count", "tokens of probes whose answer was thrown away"),
    TraceField("answer_tokens", "count", "tokens of the answer"),
    TraceField("escalations", "count", "moves to the next tier; decided on: tier less these"),
    TraceField("gpu_seconds", "real", "this request's share of the device's time, seconds"),
    TraceField("peak_kv_bytes", "large count", "largest KV cache held, bytes"),
    TraceField(
        "predicted_bin",
        "count",
        "bin of the predicted median need, see ponder/bins.py; null without a prediction",
        nullable=True,
    ),
    TraceField("prior_hazards", "reals", "the classifier's hazard of each bin; may be empty"),
    TraceField("propensity", "real", "probability of the decision that was taken"),
    TraceField(
        "tier_propensities", "reals", "probability of deciding on each tier, simple first; or empty"
    ),
    TraceField(
        "predicted_miss",
        "real",
        "predicted P(need > first budget); null unless the prediction alone decided on it",
        nullable=True,
    ),
    TraceField("classifier_version", "text", "empty without a prediction"),
    TraceField("features", "ids", "hashed n-grams of the prompt; may be empty"),
    TraceField("prompt", "text", "null unless kept by the deployment and asked for", nullable=True),
    TraceField("segment", "count", "index of the last segment"),
    TraceField("queue_ms", "real", "wait of the last segment in its worker's queue, ms"),
    TraceField("first_token_ms", "real", "until the first token of the last segment, ms"),
    TraceField("worker", "text", "who ended the request"),
)

_ENUMS: Mapping[str, Any] = MappingProxyType(
    {
        "tier": Tier,
        "pool": Pool,
        "rule": Rule,
        "stop": ThinkingStop,
        "finish_reason": FinishReason,
    }
)
_USAGE: Final = tuple(field.name for field in Usage.DESCRIPTOR.fields)
_SETTLEMENT: Final = tuple(field.name for field in fields(Settlement) if field.name != "usage")
_LATER: Final = ("predicted_miss",)
"""Nullable columns that rows written before they existed do not have."""
_LISTS: Final = ("prior_hazards", "tier_propensities", "features")


def to_row(trace_id: str, settlement: Settlement, *, with_prompt: bool) -> dict[str, Any]:
    """One value for each of TRACE_FIELDS, in their order; enums by name."""
    values = {name: getattr(settlement, name) for name in _SETTLEMENT}
    values |= {name: getattr(settlement.usage, name) for name in _USAGE}
    values |= {name: enum.Name(values[name]) for name, enum in _ENUMS.items()}
    values |= {name: list(values[name]) for name in _LISTS}
    values["trace_id"] = trace_id
    if not with_prompt:
        values["prompt"] = None
    return {field.name: values[field.name] for field in TRACE_FIELDS}


def from_row(row: Mapping[str, Any]) -> Settlement:
    """The inverse of to_row, less the trace id. Raises ValueError."""
    try:
        values = {name: row[name] for name in _SETTLEMENT if name not in _LATER}
        values |= {name: row.get(name) for name in _LATER}
        values |= {name: enum.Value(row[name]) for name, enum in _ENUMS.items()}
        values |= {name: tuple(row[name]) for name in _LISTS}
        return Settlement(usage=Usage(**{name: row[name] for name in _USAGE}), **values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a trace: {error}") from error
