"""From the JSON of a chat completion to a ReasonRequest.

Types are checked here, ranges by the router, which knows them. The limit on all tokens is not in
the ReasonRequest yet: token_limits.py divides it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import (
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
    Sampling,
    Tier,
)
from router.openai.chat_fields import check_fields
from router.openai.chat_messages import checked_text, parse_messages
from router.openai.errors import invalid

# `none` is a budget of 0 and no tier; there is no tier above research.
_NO_THINKING: Final = "none"
_TIERS: Final[Mapping[str, Tier.ValueType]] = MappingProxyType(
    {
        "minimal": TIER_SIMPLE,
        "low": TIER_MODERATE,
        "medium": TIER_COMPLEX,
        "high": TIER_RESEARCH,
        "xhigh": TIER_RESEARCH,
        "max": TIER_RESEARCH,
    }
)
# OpenAI's seed is signed, Ponder's is not: a negative one is read as two's complement.
_MIN_SEED: Final = -(2**63)
_NUM_SEEDS: Final = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """`max_tokens` limits thinking and answer together; None: no limit was asked for."""

    reason: pb.ReasonRequest
    max_tokens: int | None
    is_stream: bool
    includes_usage: bool


def parse_chat(body: object, request_id: str) -> ChatRequest:
    """`body` is decoded JSON. Raises ApiError that names the field."""
    if not isinstance(body, dict):
        raise invalid("body", " must be a JSON object")
    check_fields(body)
    fields = {name: value for name, value in body.items() if value is not None}
    reason = pb.ReasonRequest(
        request_id=request_id,
        messages=parse_messages(fields.get("messages")),
        model=checked_text("model", fields.get("model", "")),
        sampling=_sampling(fields),
    )
    _add_effort(fields, reason)
    return ChatRequest(
        reason=reason,
        max_tokens=_max_tokens(fields),
        is_stream=_flag("stream", fields.get("stream", False)),
        includes_usage=_includes_usage(fields),
    )


def _add_effort(fields: Mapping[str, Any], reason: pb.ReasonRequest) -> None:
    effort = fields.get("reasoning_effort")
    if effort is None:
        return
    if effort == _NO_THINKING:
        reason.thinking_budget = 0
    elif isinstance(effort, str) and effort in _TIERS:
        reason.tier = _TIERS[effort]
    else:
        known = ", ".join((_NO_THINKING, *_TIERS))
        raise invalid("reasoning_effort", f" must be one of {known}, or absent for automatic")


def _sampling(fields: Mapping[str, Any]) -> Sampling:
    sampling = Sampling()
    if "temperature" in fields:
        sampling.temperature = _number("temperature", fields["temperature"])
    if "top_p" in fields:
        sampling.top_p = _number("top_p", fields["top_p"])
    if "seed" in fields:
        seed = _whole("seed", fields["seed"])
        if not _MIN_SEED <= seed < _NUM_SEEDS:
            raise invalid("seed", " must fit into 64 bits")
        sampling.seed = seed % _NUM_SEEDS
    return sampling


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    """The smaller one, if both of its names are used."""
    names = [name for name in ("max_completion_tokens", "max_tokens") if name in fields]
    limits = [_whole(name, fields[name]) for name in names]
    for name, limit in zip(names, limits, strict=True):
        if limit < 1:
            raise invalid(name, " must be 1 or more")
    return min(limits, default=None)


def _includes_usage(fields: Mapping[str, Any]) -> bool:
    options = fields.get("stream_options", {})
    if not isinstance(options, dict):
        raise invalid("stream_options", " must be an object")
    if options and not fields.get("stream"):
        raise invalid("stream_options", " is only for a stream; set stream or leave it out")
    # OpenAI's padding against eavesdroppers is the one other option, and not offered.
    if unknown := options.keys() - {"include_usage", "include_obfuscation"}:
        raise invalid(f"stream_options.{min(unknown)[:64]}", " is unknown; leave it out")
    return _flag("stream_options.include_usage", options.get("include_usage") or False)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(name, " must be a number")
    try:
        return float(value)
    except OverflowError as error:
        raise invalid(name, " is too large") from error


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(name, " must be a whole number")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise invalid(name, " must be true or false")
    return value
