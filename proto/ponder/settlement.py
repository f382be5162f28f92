"""What one finished request leaves behind: the record that the ledger settles and retraining reads.

Built by the worker that ends the request, or by the router when no worker could.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from google.protobuf import json_format

from ponder import bins
from ponder.v1 import reasoner_pb2, worker_pb2
from ponder.v1.budget_pb2 import FinishReason, Pool, ThinkingStop, Tier, Usage
from ponder.v1.reasoner_pb2 import Rule

SCHEMA_VERSION: Final = 3
"""Written into every record. Version 1 has no schema_version and no tier_propensities; 1 and 2 have
no predicted_miss."""

_ENUMS: Mapping[str, Any] = {
    "tier": Tier,
    "pool": Pool,
    "rule": Rule,
    "stop": ThinkingStop,
    "finish_reason": FinishReason,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One finished request, with the usage of all its segments.

    `predicted_bin` is the bin of the predicted median need; None when there was no prediction, and
    then the request counts in no posterior. `prompt` is None when the deployment keeps none.

    `tier` and `budget_tokens` are those that were reached. The policy decided on the tier that is
    `usage.escalations` below it, with probability `propensity`; `tier_propensities` has the
    probability of each tier, simple first, and is empty in records of version 1.

    `predicted_miss` is the router's P(need > first budget). It is None unless the prediction alone
    decided on that budget, and then the request says nothing about how well it was predicted.
    """

    request_id: str
    tenant: str
    model: str
    tier: Tier.ValueType
    pool: Pool.ValueType
    rule: Rule.ValueType
    budget_tokens: int
    stop: ThinkingStop.ValueType
    finish_reason: FinishReason.ValueType
    usage: Usage
    predicted_bin: int | None
    prior_hazards: tuple[float, ...]
    propensity: float
    tier_propensities: tuple[float, ...] = ()
    predicted_miss: float | None = None
    classifier_version: str
    features: tuple[int, ...]
    prompt: str | None
    segment: int
    queue_ms: float
    first_token_ms: float
    worker: str
    finished_at_s: float

    def __post_init__(self) -> None:
        for name in ("request_id", "tenant", "model"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: a settlement needs it")
        if self.predicted_bin is not None and not 0 <= self.predicted_bin <= bins.NUM_NEED_BINS:
            raise ValueError(f"predicted_bin is {self.predicted_bin}, not 0..{bins.NUM_NEED_BINS}")
        if self.predicted_miss is not None and not 0.0 <= self.predicted_miss <= 1.0:
            raise ValueError(f"predicted_miss is {self.predicted_miss}, not 0 to 1")

    def to_json(self) -> str:
        """One line, without a line break in it; enums by name."""
        record: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        record |= {field.name: getattr(self, field.name) for field in fields(self)}
        for name, enum in _ENUMS.items():
            record[name] = enum.Name(record[name])
        record["usage"] = usage_to_dict(self.usage)
        return json.dumps(record, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Raises ValueError for anything that to_json, now or in versions 1, 2, did not write."""
        try:
            record = json.loads(line)
            if (version := record.pop("schema_version", 1)) not in range(1, SCHEMA_VERSION + 1):
                raise ValueError(f"not a settlement: schema_version is {version!r}")
            for name, enum in _ENUMS.items():
                record[name] = enum.Value(record[name])
            record["usage"] = usage_from_dict(record["usage"])
            for name in ("prior_hazards", "tier_propensities", "features"):
                record[name] = tuple(record.get(name, ()))
            return cls(**record)
        except (AttributeError, KeyError, TypeError, json_format.ParseError) as error:
            raise ValueError(f"not a settlement: {error}") from error


def usage_to_dict(usage: Usage) -> dict[str, Any]:
    """Every field by its name in budget.proto, zeros included."""
    return json_format.MessageToDict(
        usage, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def usage_from_dict(record: Mapping[str, Any]) -> Usage:
    """The inverse of usage_to_dict. Raises json_format.ParseError."""
    return json_format.ParseDict(dict(record), Usage())


def prompt_text(request: reasoner_pb2.ReasonRequest | worker_pb2.ThinkRequest) -> str:
    """The text that stands for the prompt in features and traces: the prompt, or what was said."""
    return request.prompt or "\n\n".join(message.content for message in request.messages)


def total_usage(request: worker_pb2.ThinkRequest, segment: Usage) -> Usage:
    """Usage of the request so far: earlier segments plus this one.

    `segment` holds what this segment spent; its thinking_tokens are the newly committed ones.
    The prompt counts once; the thinking prefix counts exactly as it was handed over.
    """
    prior = request.settlement.prior_usage
    return Usage(
        prompt_tokens=segment.prompt_tokens or prior.prompt_tokens,
        thinking_tokens=len(request.thinking_prefix_ids) + segment.thinking_tokens,
        forced_tokens=prior.forced_tokens + segment.forced_tokens,
        probe_tokens=prior.probe_tokens + segment.probe_tokens,
        answer_tokens=prior.answer_tokens + segment.answer_tokens,
        escalations=prior.escalations + segment.escalations,
        gpu_seconds=prior.gpu_seconds + segment.gpu_seconds,
        peak_kv_bytes=max(prior.peak_kv_bytes, segment.peak_kv_bytes),
    )


def settlement_of(
    request: worker_pb2.ThinkRequest,
    done: worker_pb2.ThinkDone,
    *,
    worker: str,
    finished_at_s: float,
) -> Settlement:
    """The record of a request whose final segment is `request` and ended as `done`.

    `done.usage` is that of the whole request, see total_usage; `finished_at_s` is unix time.
    """
    known = request.settlement
    return Settlement(
        request_id=request.request_id,
        tenant=known.tenant,
        model=request.model,
        tier=known.tier,
        pool=known.pool,
        rule=known.rule,
        budget_tokens=request.thinking_budget,
        stop=done.stop,
        finish_reason=done.finish_reason,
        usage=done.usage,
        predicted_bin=known.predicted_bin if known.prior_hazards else None,
        prior_hazards=tuple(known.prior_hazards),
        propensity=known.propensity,
        tier_propensities=tuple(known.tier_propensities),
        predicted_miss=known.predicted_miss if known.HasField("predicted_miss") else None,
        classifier_version=known.classifier_version,
        features=tuple(known.features),
        prompt=prompt_text(request) if known.store_prompt else None,
        segment=request.segment,
        queue_ms=done.queue_ms,
        first_token_ms=done.first_token_ms,
        worker=worker,
        finished_at_s=finished_at_s,
    )
