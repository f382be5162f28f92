"""The thinking state of one request: THINK -> CLOSE -> ANSWER -> DONE, from committed tokens.

It decides what happens after each token. It never looks at logits and never rescans: forcing
means that the scheduler feeds ids as input; only re-entry is kept out by a ban in the sampler.
"""

import copy
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from workers.engine.request import EngineRequest, FinishReason, ThinkingStop


class Phase(IntEnum):
    """Where a request stands."""

    THINK = 0
    CLOSE = 1  # the close is queued as input; nothing has been sampled after it
    ANSWER = 2
    DONE = 3


class BanSet(IntEnum):
    """Which ids the sampler must not choose."""

    THINK = 0  # no second <think>
    FIRST_ANSWER = 1  # no markers, and no end before the answer has begun
    ANSWER = 2  # no markers: thinking must not re-enter


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """The ids that steer a request; `think_open_id` None means a model that does not think."""

    eos_ids: frozenset[int]
    think_open_id: int | None = None
    think_close_id: int | None = None
    wrap_up_ids: tuple[int, ...] = ()  # fed before </think> when the budget cuts the thinking
    step_end_ids: frozenset[int] = frozenset()  # each ends a step of the thinking
    tool_call_id: int | None = None  # opens a tool call, and with it the answer

    @property
    def can_think(self) -> bool:
        return self.think_open_id is not None and self.think_close_id is not None

    @property
    def close_ids(self) -> tuple[int, ...]:
        """The forced close of a thinking that its budget cut."""
        return (*self.wrap_up_ids, *self.natural_close_ids)

    @property
    def natural_close_ids(self) -> tuple[int, ...]:
        """The close of a thinking that ended by itself."""
        return () if self.think_close_id is None else (self.think_close_id,)

    def banned_ids(self, ban: BanSet) -> frozenset[int]:
        """The ids that `ban` keeps from being sampled."""
        opens = frozenset() if self.think_open_id is None else frozenset({self.think_open_id})
        if ban is BanSet.THINK:
            return opens
        markers = opens | frozenset(self.natural_close_ids)
        return markers | self.eos_ids if ban is BanSet.FIRST_ANSWER else markers


class TokenKind(Enum):
    """What a sampled token turned out to be."""

    THINKING = "thinking"
    MARKER = "marker"  # the model's own </think>
    ANSWER = "answer"
    END = "end"  # end of sequence: never fed back


class Verdict(NamedTuple):
    """What a token was; `turned`: phase or ban set changed; `forced`: ids to feed after it."""

    kind: TokenKind
    turned: bool = True
    forced: tuple[int, ...] = ()


_THINKS_ON = Verdict(TokenKind.THINKING, turned=False)
_ANSWERS_ON = Verdict(TokenKind.ANSWER, turned=False)


class ThinkingState:
    """Counts and phase of one request."""

    __slots__ = (
        "_answers_on_exhaustion",
        "_budget",
        "_close_id",
        "_grace",
        "_max_answer",
        "_tokens",
        "answer_tokens",
        "forced_tokens",
        "phase",
        "reason",
        "stop",
        "thinking_tokens",
    )

    def __init__(self, request: EngineRequest, tokens: SpecialTokens) -> None:
        self._tokens = tokens
        self._close_id = tokens.think_close_id
        self._budget = request.thinking_budget
        self._grace = request.cut_grace_tokens
        self._max_answer = request.max_answer_tokens
        self._answers_on_exhaustion = request.answer_on_exhaustion
        self.thinking_tokens = len(request.thinking_prefix_ids)
        self.answer_tokens = 0
        self.forced_tokens = 0
        self.phase = Phase.THINK
        self.stop = ThinkingStop.NONE
        self.reason: FinishReason | None = None

    def open(self, request: EngineRequest) -> list[int]:
        """The ids to prefill: prompt, marker if needed, thinking prefix, close if spent."""
        ids = list(request.prompt_ids)
        if not self._tokens.can_think:
            self.phase = Phase.CLOSE
            return ids
        if not request.prompt_opens_thinking:
            if self._budget == 0:
                self.phase = Phase.CLOSE
                return ids
            ids.append(self._tokens.think_open_id or 0)
            self.forced_tokens += 1
        ids.extend(request.thinking_prefix_ids)
        if self.thinking_tokens == self._budget:
            ids.extend(self._exhaust())
        return ids

    @property
    def most_remaining_tokens(self) -> int:
        """The most tokens that may still be sampled."""
        answer = self._max_answer - self.answer_tokens
        return answer + (self._budget - self.thinking_tokens if self.phase is Phase.THINK else 0)

    @property
    def ban(self) -> BanSet:
        """What the sampler must not choose for the next token."""
        if self.phase is Phase.THINK:
            return BanSet.THINK
        return BanSet.ANSWER if self.answer_tokens else BanSet.FIRST_ANSWER

    def observe(self, token: int) -> Verdict:
        """Commit one sampled token."""
        if self.phase is Phase.THINK:
            return self._observe_thinking(token)
        return self._observe_answer(token)

    def end(self, reason: FinishReason) -> None:
        """End the request where it stands: CANCELLED or FAILED."""
        if self.phase is Phase.THINK:
            self.stop = ThinkingStop.CANCELLED
        self._finish(reason)

    def branch(self, suffix_ids: tuple[int, ...], num_left_out: int = 0) -> "ThinkingState":
        """The state of a fork that is fed `suffix_ids`: with </think> among them, it answers.

        `num_left_out`: thinking tokens at the end that the fork does not take with it.
        """
        child = copy.copy(self)
        child.thinking_tokens -= num_left_out
        child._force(suffix_ids)
        if self._close_id in suffix_ids:
            child.phase = Phase.CLOSE
        return child

    def close_now(self, stop: ThinkingStop) -> tuple[int, ...]:
        """End the thinking here, whatever was asked for at its end; returns the ids to feed."""
        assert self.phase is Phase.THINK
        self.stop, self.phase = stop, Phase.CLOSE
        return self._force(self._tokens.close_ids)

    def close_soon(self) -> None:
        """Make the next thinking token the last; an answer follows it whatever was asked for."""
        self._answers_on_exhaustion = True
        self._budget = min(self._budget, self.thinking_tokens + 1)

    def _observe_thinking(self, token: int) -> Verdict:
        if token == self._close_id:
            self.stop, self.phase = ThinkingStop.FINISHED, Phase.ANSWER
            return Verdict(TokenKind.MARKER)
        if token in self._tokens.eos_ids:
            self.stop, self.phase = ThinkingStop.FINISHED, Phase.CLOSE
            return Verdict(TokenKind.END, forced=self._force(self._tokens.natural_close_ids))
        if token == self._tokens.tool_call_id:  # a budget must never cut into a tool call
            self.stop = ThinkingStop.FINISHED
            return self._observe_answer(token)
        self.thinking_tokens += 1
        if self._goes_on(token):
            return _THINKS_ON
        return Verdict(TokenKind.THINKING, forced=self._exhaust())

    def _goes_on(self, token: int) -> bool:
        """Whether the budget lasts: near its end a step that ends there is the last."""
        left = self._budget - self.thinking_tokens
        ends_early = left <= self._grace and token in self._tokens.step_end_ids
        return left > 0 and not (ends_early and self._answers_on_exhaustion)

    def _observe_answer(self, token: int) -> Verdict:
        self.phase = Phase.ANSWER
        if token in self._tokens.eos_ids:
            self._finish(FinishReason.STOP)
            return Verdict(TokenKind.END)
        self.answer_tokens += 1
        if self.answer_tokens == self._max_answer:
            self._finish(FinishReason.LENGTH)
        elif self.answer_tokens > 1:
            return _ANSWERS_ON
        return Verdict(TokenKind.ANSWER)

    def _exhaust(self) -> tuple[int, ...]:
        self.stop = ThinkingStop.EXHAUSTED
        if not self._answers_on_exhaustion:
            self._finish(FinishReason.EXHAUSTED)
            return ()
        self.phase = Phase.CLOSE
        return self._force(self._tokens.close_ids)

    def _force(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        self.forced_tokens += len(ids)
        return ids

    def _finish(self, reason: FinishReason) -> None:
        self.phase, self.reason = Phase.DONE, reason
