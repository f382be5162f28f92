"""Which requests one engine can run at all, whatever its load."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.engine.errors import InvalidRequest
from workers.engine.request import EngineRequest
from workers.engine.thinking import SpecialTokens


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What follows from the checkpoint and the configuration."""

    tokens: SpecialTokens
    vocab_size: int
    max_model_len: int

    def check(self, request: EngineRequest) -> None:
        """Raise InvalidRequest that names the first field that is out of range."""
        for problems in (self._prompt, self._thinking, self._sampling, self._length):
            for problem in problems(request):
                raise InvalidRequest(problem)

    def most_tokens(self, request: EngineRequest) -> int:
        """The longest that the sequence of a request can become."""
        most = len(request.prompt_ids) + request.max_answer_tokens
        if self.tokens.can_think:
            most += 1 + request.thinking_budget + len(self.tokens.close_ids)
        return most

    def check_ids(self, name: str, ids: Sequence[int]) -> None:
        """Raise InvalidRequest unless all ids are in the vocabulary."""
        for problem in self._ids(name, ids):
            raise InvalidRequest(problem)

    def _ids(self, name: str, ids: Sequence[int]) -> Iterator[str]:
        if any(not 0 <= token < self.vocab_size for token in ids):
            yield f"{name} must be in [0, {self.vocab_size})"

    def _prompt(self, request: EngineRequest) -> Iterator[str]:
        if not request.prompt_ids:
            yield "prompt_ids must not be empty"
        for name in ("prompt_ids", "thinking_prefix_ids"):
            yield from self._ids(name, getattr(request, name))

    def _thinking(self, request: EngineRequest) -> Iterator[str]:
        prefix = len(request.thinking_prefix_ids)
        if prefix and not self.tokens.can_think:
            yield "thinking_prefix_ids must be empty: this model has no thinking tokens"
        if request.thinking_budget < prefix:
            yield f"thinking_budget must be at least the {prefix} tokens of thinking_prefix_ids"
        if request.thinking_budget == prefix and not request.answer_on_exhaustion:
            yield "thinking_budget leaves nothing to think: raise it or set answer_on_exhaustion"
        expected = request.expected_thinking_tokens
        if expected is not None and not 0 <= expected < math.inf:
            yield "expected_thinking_tokens must be finite and at least 0, or None"

    def _sampling(self, request: EngineRequest) -> Iterator[str]:
        if not 0 <= request.temperature < math.inf:  # also refuses NaN
            yield "temperature must be finite and at least 0"
        if not 0 < request.top_p <= 1:
            yield "top_p must be in (0, 1]"
        if not -(2**63) <= request.seed < 2**63:
            yield "seed must be a signed 64-bit integer"

    def _length(self, request: EngineRequest) -> Iterator[str]:
        if request.max_answer_tokens < 1:
            yield "max_answer_tokens must be at least 1"
        if self.most_tokens(request) > self.max_model_len:
            yield (
                f"prompt ({len(request.prompt_ids)} tokens), thinking_budget and max_answer_tokens "
                f"need {self.most_tokens(request)} tokens, more than max_model_len "
                f"{self.max_model_len}: shorten the prompt or think less"
            )
