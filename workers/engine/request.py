"""What goes into the engine and what comes out of it: plain messages, in token ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple


class ThinkingStop(StrEnum):
    """Why the thinking ended."""

    NONE = "none"  # the model, or the request, has no thinking
    FINISHED = "finished"  # the model closed it
    CONFIDENT = "confident"  # a branch answered surely enough and became the request
    CONVERGED = "converged"  # it repeated itself
    EXHAUSTED = "exhausted"  # the budget cut it
    GAVE_UP = "gave_up"  # it got nowhere
    CANCELLED = "cancelled"  # the request was aborted, or failed, while it thought


class FinishReason(StrEnum):
    """Why the request ended."""

    STOP = "stop"  # the model ended its answer
    LENGTH = "length"  # max_answer_tokens cut the answer
    EXHAUSTED = "exhausted"  # the budget ended and the caller wanted no answer then
    CANCELLED = "cancelled"  # aborted
    FAILED = "failed"  # the engine could not go on with it; `Finished.failure` says why


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One request: think within a budget, then answer.

    `thinking_prefix_ids` are thinking tokens of an earlier segment; they count towards the
    budget. A thinking that is answered when its budget ends is cut where a step ends, if one
    does within the last `cut_grace_tokens`. When `prompt_opens_thinking` is false the engine
    feeds `<think>` itself, unless the budget is 0. `temperature` 0 is greedy. The tokens depend
    on the request alone, never on what else runs.

    `expected_thinking_tokens`, a prediction of the whole thinking, only orders the queue: a wrong
    one changes when a request runs, never what it says.
    """

    request_id: str
    prompt_ids: Sequence[int]
    thinking_prefix_ids: Sequence[int] = ()
    thinking_budget: int
    cut_grace_tokens: int = 0
    max_answer_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    answer_on_exhaustion: bool = True
    prompt_opens_thinking: bool = True
    expected_thinking_tokens: float | None = None

    def closing(self) -> "EngineRequest":
        """The same with one more thinking token at most, then the answer."""
        budget = min(self.thinking_budget, len(self.thinking_prefix_ids) + 1)
        return replace(self, thinking_budget=budget, answer_on_exhaustion=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a request spent.

    `thinking_tokens` includes the prefix it resumed from and excludes the markers;
    `forced_tokens` were fed by the engine (wrap-up and markers); the end-of-sequence token is
    not an answer token. `probe_tokens` were computed for branches that came to nothing: fed and
    sampled ones, and the thinking that a promoted branch left behind. `engine_seconds` is its
    share of the busy time of the steps it was in, its branches' included.
    """

    prompt_tokens: int
    thinking_tokens: int
    forced_tokens: int
    probe_tokens: int = 0
    answer_tokens: int
    engine_seconds: float
    peak_kv_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a request ended. `queue_s` and `first_token_s` count from its arrival.

    `failure` is empty unless the reason is FAILED.
    """

    stop: ThinkingStop
    reason: FinishReason
    usage: Usage
    queue_s: float
    first_token_s: float
    failure: str = ""


class EngineOutput(NamedTuple):
    """The tokens a request gained since its last output; `logprobs` are those of `answer_ids`.

    The texts are empty where the reader has the tokenizer and decodes the ids itself. A tuple,
    because a process that sends dozens after every step pickles dataclasses slowly.
    """

    request_id: str
    thinking_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: Finished | None
    thinking_text: str = ""
    answer_text: str = ""
