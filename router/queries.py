"""From a ReasonRequest to a Query, with every check of what a caller may send.

What passes here is safe to hand to a worker; whether the tenant may have it is the policy's part.
"""

import hashlib
import math
import random
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ponder.settlement import prompt_text
from ponder.tracing import UNTRACED, Trace
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import ChatMessage, Sampling, Tier
from router.config import RouterConfig
from router.errors import InvalidRequest, NoWorkerAvailable
from router.policy import Wish
from router.tenants import Tenant
from router.tiers import TIERS, tier_name

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# C0 and C1 control characters, tab and both parts of a line end aside.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ROLES: Final = ("system", "user", "assistant")
_MAX_MESSAGES: Final = 256
_MAX_TEMPERATURE: Final = 2.0
_TIER_REMEDY: Final = f"use one of {', '.join(map(tier_name, TIERS))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A checked request. Times are seconds of time.monotonic.

    Either prompt or messages is set; `text` is what the classifier reads of either. `sampling` has
    its seed. `fingerprint` tells requests with the same id apart.
    """

    request_id: str
    tenant: Tenant
    prompt: str
    messages: tuple[ChatMessage, ...]
    text: str
    model: str
    wish: Wish
    max_answer_tokens: int
    sampling: Sampling
    include_thinking: bool
    received_at_s: float
    deadline_at_s: float
    fingerprint: bytes
    trace: Trace = UNTRACED


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the call says besides its message. Times are seconds of time.monotonic."""

    tenant: Tenant
    received_at_s: float
    deadline_at_s: float
    trace: Trace = UNTRACED


class QueryParser:
    """Checks requests against the limits of the configuration."""

    def __init__(
        self,
        config: RouterConfig,
        served_models: Callable[[], Sequence[str]],
        coverage: Callable[[str, str], float],
        worth_tokens: Callable[[str, str], float],
        rng: random.Random,
    ) -> None:
        """`served_models` tells what may be asked for now; the first is the default. `coverage` and
        `worth_tokens` are those of a request which does not say, by model and request id.
        """
        self._config = config
        self._served_models = served_models
        self._coverage = coverage
        self._worth_tokens = worth_tokens
        self._rng = rng

    def parse(self, request: pb.ReasonRequest, origin: Origin) -> Query:
        """Raises InvalidRequest, which names the field and the remedy; NoWorkerAvailable."""
        self._check_text(request)
        model, request_id = self._model(request), _request_id(request)
        return Query(
            request_id=request_id,
            tenant=origin.tenant,
            prompt=request.prompt,
            messages=tuple(request.messages),
            text=prompt_text(request),
            model=model,
            wish=self._wish(request, model, request_id),
            max_answer_tokens=self._answer_tokens(request),
            sampling=self._sampling(request),
            include_thinking=request.include_thinking,
            received_at_s=origin.received_at_s,
            deadline_at_s=origin.deadline_at_s,
            fingerprint=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
            trace=origin.trace,
        )

    def _check_text(self, request: pb.ReasonRequest) -> None:
        if bool(request.prompt) == bool(request.messages):
            both = "both" if request.prompt else "neither"
            raise InvalidRequest(f"prompt and messages: {both} set; set exactly one of them")
        texts = {"prompt": request.prompt} if request.prompt else _message_texts(request)
        num_bytes = sum(len(text.encode()) for text in texts.values())
        if num_bytes > self._config.max_prompt_bytes:
            field = "prompt" if request.prompt else "messages"
            raise InvalidRequest(
                f"{field}: {num_bytes} bytes; send at most {self._config.max_prompt_bytes}"
            )
        for field, text in texts.items():
            _check_characters(field, text)

    def _model(self, request: pb.ReasonRequest) -> str:
        served = self._served_models()
        if not served:
            raise NoWorkerAvailable("no worker has answered yet; try again in a second")
        if request.model and request.model not in served:
            raise InvalidRequest(
                f"model: unknown; use one of {', '.join(served)} or leave it empty"
            )
        return request.model or served[0]

    def _wish(self, request: pb.ReasonRequest, model: str, request_id: str) -> Wish:
        budget = request.thinking_budget if request.HasField("thinking_budget") else None
        largest = self._config.tiers_of(model).largest_budget
        if budget is not None and not 0 <= budget <= largest:
            raise InvalidRequest(f"thinking_budget is {budget}; use 0 to {largest} thinking tokens")
        coverage = self._coverage(model, request_id)
        if request.HasField("coverage"):
            coverage = request.coverage
        if not 0.0 < coverage < 1.0:
            raise InvalidRequest(f"coverage is {coverage}; use a number above 0 and below 1")
        return Wish(
            thinking_budget=budget,
            tier=_tier("tier", request.tier) if request.HasField("tier") else None,
            max_tier=_tier("max_tier", request.max_tier) if request.HasField("max_tier") else None,
            coverage=coverage,
            worth_tokens=self._worth(request, model, request_id),
        )

    def _worth(self, request: pb.ReasonRequest, model: str, request_id: str) -> float:
        if not request.HasField("worth_tokens"):
            return self._worth_tokens(model, request_id)
        if request.worth_tokens < 0:
            raise InvalidRequest(
                f"worth_tokens is {request.worth_tokens}; "
                "use a number of thinking tokens, or 0 for no limit"
            )
        return request.worth_tokens or math.inf

    def _answer_tokens(self, request: pb.ReasonRequest) -> int:
        most = self._config.max_answer_tokens
        if not 0 <= request.max_answer_tokens <= most:
            raise InvalidRequest(
                f"max_answer_tokens is {request.max_answer_tokens}; "
                f"use 1 to {most}, or 0 for the default"
            )
        return request.max_answer_tokens or self._config.default_answer_tokens

    def _sampling(self, request: pb.ReasonRequest) -> Sampling:
        asked = request.sampling
        if not 0.0 <= asked.temperature <= _MAX_TEMPERATURE:
            raise InvalidRequest(
                f"sampling.temperature is {asked.temperature}; use 0 (greedy) to {_MAX_TEMPERATURE}"
            )
        if asked.HasField("top_p") and not 0.0 < asked.top_p <= 1.0:
            raise InvalidRequest(
                f"sampling.top_p is {asked.top_p}; use a number above 0, up to 1, or leave it out"
            )
        sampling = Sampling()
        sampling.CopyFrom(asked)
        if not asked.HasField("seed"):
            sampling.seed = self._rng.getrandbits(63)
        return sampling


def check_request_id(request_id: str) -> None:
    """Raises InvalidRequest."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidRequest("request_id: use 1 to 128 letters, digits and the characters . _ : -")


def check_score(request: pb.FeedbackRequest) -> None:
    """Raises InvalidRequest."""
    if request.HasField("score") and (math.isnan(request.score) or not 0.0 <= request.score <= 1.0):
        raise InvalidRequest(f"score is {request.score}; use a number from 0 to 1")


def _request_id(request: pb.ReasonRequest) -> str:
    if not request.request_id:
        return uuid.uuid4().hex
    check_request_id(request.request_id)
    return request.request_id


def _message_texts(request: pb.ReasonRequest) -> dict[str, str]:
    if len(request.messages) > _MAX_MESSAGES:
        raise InvalidRequest(f"messages: {len(request.messages)}; send at most {_MAX_MESSAGES}")
    for index, message in enumerate(request.messages):
        if message.role not in _ROLES:
            raise InvalidRequest(f"messages[{index}].role: unknown; use one of {', '.join(_ROLES)}")
    if request.messages[-1].role != "user":
        raise InvalidRequest("messages: the last one must have the role user")
    return {f"messages[{i}].content": m.content for i, m in enumerate(request.messages)}


def _check_characters(field: str, text: str) -> None:
    if not text.strip():
        raise InvalidRequest(f"{field} is empty; write something to answer")
    if found := _CONTROL.search(text):
        raise InvalidRequest(
            f"{field} holds the control character U+{ord(found[0]):04X} at {found.start()}; "
            "remove it, only line ends and tab are allowed"
        )


def _tier(field: str, tier: Tier.ValueType) -> Tier.ValueType:
    if tier not in TIERS:
        raise InvalidRequest(f"{field} is {tier}, which is no tier; {_TIER_REMEDY} or leave it out")
    return tier
