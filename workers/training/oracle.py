"""The oracle: the teacher's own random search, spending tokens as the model would.

It makes no mistake and knows no better than chance, so it is what a model that learned the
teacher's traces perfectly would score. It never guesses: an unfinished search counts as wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from tokenizers import Tokenizer

from workers.training.countdown import Problem, random_attempt
from workers.training.lines import attempt_line, countdown_body
from workers.training.systems import System, system_bodies

NUM_SEARCHES = 8
"""Searches per problem: the share that hits is its chance, less noisy than one search."""


class Oracle:
    """Searches problems, with the token costs of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, *, num_searches: int = NUM_SEARCHES) -> None:
        self._tokenizer = tokenizer
        self._num_searches = num_searches

    def solved_within(
        self, rng: Random, problem: Problem | System, budgets: Iterable[int]
    ) -> dict[int, float]:
        """Share of the searches that hit within each budget, thinking tokens.

        The close is not counted: a budget counts thinking tokens and leaves the markers out. The
        trials of a system go through its candidates in order: there chance has no part.
        """
        listed = list(budgets)
        if isinstance(problem, System):
            costs = [self._trial_tokens(problem)]
        else:
            line_tokens, most = self.line_tokens(problem), max(listed)
            searches = range(self._num_searches)
            costs = [_tokens_to_hit(rng, problem, line_tokens, most) for _ in searches]
        return {b: sum(cost <= b for cost in costs) / len(costs) for b in listed}

    def line_tokens(self, problem: Problem) -> int:
        """Tokens of an attempt: the same for all of one problem, every number being one token."""
        chain = random_attempt(Random(0), problem)
        return self._count(attempt_line(1, countdown_body(problem, chain)))

    def _trial_tokens(self, system: System) -> int:
        bodies = enumerate(system_bodies(system), start=1)
        return sum(self._count(attempt_line(number, body)) for number, body in bodies)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text).ids)


def _tokens_to_hit(rng: Random, problem: Problem, line_tokens: int, most: int) -> int:
    """Tokens up to and including the first hit, or more than `most`."""
    spent = line_tokens
    while spent <= most and random_attempt(rng, problem)[-1].result != problem.target:
        spent += line_tokens
    return spent
