"""The oracle: the teacher's own random search, spending tokens as the model would.

It makes no mistake and knows no better than chance, so it is what a model that learned the
teacher's traces perfectly would score. It never guesses: an unfinished search counts as wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from tokenizers import Tokenizer

from workers.training.countdown import Problem, random_attempt
from workers.training.traces import attempt_text

NUM_SEARCHES = 8
"""Searches per problem: the share that hits is its chance, less noisy than one search."""


class Oracle:
    """Searches problems, with the token costs of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, *, num_searches: int = NUM_SEARCHES) -> None:
        self._tokenizer = tokenizer
        self._num_searches = num_searches

    def solved_within(
        self, rng: Random, problem: Problem, budgets: Iterable[int]
    ) -> dict[int, float]:
        """Share of the searches that hit within each budget, thinking tokens.

        The close is not counted: a budget counts thinking tokens and leaves the markers out.
        """
        listed, line_tokens = list(budgets), self.line_tokens(problem)
        most = max(listed)
        costs = [_tokens_to_hit(rng, problem, line_tokens, most) for _ in range(self._num_searches)]
        return {b: sum(cost <= b for cost in costs) / len(costs) for b in listed}

    def line_tokens(self, problem: Problem) -> int:
        """Tokens of an attempt: the same for all of one problem, every number being one token."""
        chain = random_attempt(Random(0), problem)
        return len(self._tokenizer.encode(attempt_text(problem, chain, "no")).ids)


def _tokens_to_hit(rng: Random, problem: Problem, line_tokens: int, most: int) -> int:
    """Tokens up to and including the first hit, or more than `most`."""
    spent = line_tokens
    while spent <= most and random_attempt(rng, problem)[-1].result != problem.target:
        spent += line_tokens
    return spent
