"""What this worker accepts. The router checks requests too; a worker does not rely on it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ponder.bins import NUM_NEED_BINS
from ponder.v1 import budget_pb2, reasoner_pb2, worker_pb2
from workers.errors import InvalidArgument

_ROLES = ("system", "user", "assistant")
_MAX_NAME_BYTES = 512
_MAX_FEATURES = 65_536
_NUM_TIERS = 4
# Leaves room to add to it within 32 bits.
_MAX_COUNT = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may ask of this worker."""

    model: str
    max_thinking_budget: int
    max_answer_tokens: int
    max_prompt_bytes: int
    vocab_size: int
    marker_ids: frozenset[int]


def check(request: worker_pb2.ThinkRequest, limits: Limits) -> None:
    """Raises InvalidArgument for the first wrong field.

    Lengths in tokens are not known here: the engine checks the prompt against its context.
    """
    for problems in (_names, _prompt, _thinking, _answer, _sampling, _settlement):
        for field, problem in problems(request, limits):
            raise InvalidArgument(field, problem)


Problems = Iterator[tuple[str, str]]


def _names(request: worker_pb2.ThinkRequest, limits: Limits) -> Problems:
    names = (("request_id", request.request_id), ("settlement.tenant", request.settlement.tenant))
    for field, name in names:
        if not name:
            yield field, "is empty; the router sets it"
        if len(name.encode()) > _MAX_NAME_BYTES:
            yield field, f"is longer than {_MAX_NAME_BYTES} bytes; shorten it"
    if request.model != limits.model:
        yield "model", f"{request.model!r} is not served here; this worker serves {limits.model!r}"


def _prompt(request: worker_pb2.ThinkRequest, limits: Limits) -> Problems:
    if bool(request.prompt) == bool(request.messages):
        yield "prompt", "set exactly one of prompt and messages"
    texts = [request.prompt, *(message.content for message in request.messages)]
    num_bytes = sum(len(text.encode()) for text in texts)
    if num_bytes > limits.max_prompt_bytes:
        yield (
            "messages" if request.messages else "prompt",
            f"has {num_bytes} bytes, this worker takes {limits.max_prompt_bytes}; shorten it",
        )
    for index, message in enumerate(request.messages):
        if message.role not in _ROLES:
            yield f"messages[{index}].role", f"must be one of {', '.join(_ROLES)}"


def _thinking(request: worker_pb2.ThinkRequest, limits: Limits) -> Problems:
    budget, prefix = request.thinking_budget, request.thinking_prefix_ids
    if budget > limits.max_thinking_budget:
        yield (
            "thinking_budget",
            f"{budget} is above this worker's cap of {limits.max_thinking_budget}; lower it or "
            "ask a worker of the thinking pool",
        )
    if len(prefix) > budget:
        yield "thinking_prefix_ids", f"holds {len(prefix)} tokens, more than the budget {budget}"
    if len(prefix) == budget and not request.answer_on_exhaustion:
        yield "thinking_budget", "leaves nothing to think; raise it or set answer_on_exhaustion"
    if any(token >= limits.vocab_size for token in prefix):
        yield "thinking_prefix_ids", f"holds an id outside the vocabulary of {limits.vocab_size}"
    if not limits.marker_ids.isdisjoint(prefix):
        yield "thinking_prefix_ids", "holds a thinking marker; send the tokens between the markers"


def _answer(request: worker_pb2.ThinkRequest, limits: Limits) -> Problems:
    if not 1 <= request.max_answer_tokens <= limits.max_answer_tokens:
        yield "max_answer_tokens", f"must be from 1 to {limits.max_answer_tokens}"


def _sampling(request: worker_pb2.ThinkRequest, limits: Limits) -> Problems:
    sampling = request.sampling
    if not 0 <= sampling.temperature < math.inf:
        yield "sampling.temperature", "must be 0 or more"
    if sampling.HasField("top_p") and not 0 < sampling.top_p <= 1:
        yield "sampling.top_p", "must be above 0 and at most 1"
    if not sampling.HasField("seed"):
        yield "sampling.seed", "is unset; the router draws one, so that segments continue alike"


def _settlement(request: worker_pb2.ThinkRequest, limits: Limits) -> Problems:
    known = request.settlement
    enums = (
        ("tier", known.tier, budget_pb2.Tier),
        ("pool", known.pool, budget_pb2.Pool),
        ("rule", known.rule, reasoner_pb2.Rule),
    )
    for field, value, enum in enums:
        if value not in enum.values():
            yield f"settlement.{field}", f"{value} is not a value of this enum"
    if known.predicted_bin > NUM_NEED_BINS:
        yield "settlement.predicted_bin", f"must be at most {NUM_NEED_BINS}"
    if len(known.prior_hazards) not in (0, NUM_NEED_BINS):
        yield "settlement.prior_hazards", f"must hold {NUM_NEED_BINS} hazards, or none"
    if not all(0 <= hazard <= 1 for hazard in known.prior_hazards):
        yield "settlement.prior_hazards", "must be probabilities, 0 to 1"
    if not 0 <= known.propensity <= 1:
        yield "settlement.propensity", "must be a probability, 0 to 1"
    if len(known.tier_propensities) not in (0, _NUM_TIERS):
        yield "settlement.tier_propensities", f"must hold {_NUM_TIERS} probabilities, or none"
    if not all(0 <= propensity <= 1 for propensity in known.tier_propensities):
        yield "settlement.tier_propensities", "must be probabilities, 0 to 1"
    if not 0 <= known.predicted_miss <= 1:
        yield "settlement.predicted_miss", "must be a probability, 0 to 1"
    if len(known.features) > _MAX_FEATURES:
        yield "settlement.features", f"must hold at most {_MAX_FEATURES} entries"
    yield from _prior_usage(known.prior_usage)


def _prior_usage(usage: budget_pb2.Usage) -> Problems:
    counts = ("prompt_tokens", "forced_tokens", "probe_tokens", "answer_tokens", "escalations")
    for name in counts:
        if getattr(usage, name) > _MAX_COUNT:
            yield f"settlement.prior_usage.{name}", f"must be at most {_MAX_COUNT}"
    if not 0 <= usage.gpu_seconds < math.inf:
        yield "settlement.prior_usage.gpu_seconds", "must be 0 or more"
