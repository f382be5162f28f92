"""A decision with what it rests on, the reply, and the events of a request. Plain data."""

from dataclasses import dataclass

from ponder.v1.budget_pb2 import FinishReason, ThinkingStop, Timings, Usage
from router.policy import Choice
from router.survival import Hazards, SurvivalCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """Hazards of shape (NUM_NEED_BINS,), as the classifier gave them, and its features."""

    hazards: Hazards
    features: tuple[int, ...]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The classification, corrected by what was observed.

    `predicted_bin` is the bin of the classifier's own median: it names the counts that this
    request is corrected by and will be counted in, so the counts must not move it.
    """

    curve: SurvivalCurve
    predicted_bin: int
    prior: Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The policy's choice and what it rests on. `degraded` lists what was missing."""

    choice: Choice
    model: str
    prediction: Prediction | None
    degraded: tuple[str, ...] = ()

    def expected_tokens(self, spent: int) -> float:
        """Thinking still to come after `spent` tokens; without a prediction the whole budget."""
        budget_tokens = self.choice.budget_tokens
        if self.prediction is None:
            return float(max(0, budget_tokens - spent))
        return self.prediction.curve.expected_tokens(spent, budget_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished request."""

    request_id: str
    answer: str
    decision: Decision
    stop: ThinkingStop.ValueType
    finish_reason: FinishReason.ValueType
    usage: Usage
    timings: Timings
    thinking: str | None


@dataclass(frozen=True, slots=True)
class Decided:
    """First, and again when the request moves to a higher tier."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Thought:
    """Thinking tokens committed so far, over all segments."""

    thinking_tokens: int
    segment: int


@dataclass(frozen=True, slots=True)
class Answered:
    """Text to append to the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Last."""

    reply: Reply


Event = Decided | Thought | Answered | Finished
