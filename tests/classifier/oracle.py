"""Requests whose need is simulated: a real random search for the solution of a real problem.

The tokens of an attempt are those the reference model writes for it; the easy families take a few
steps. So the need depends on the prompt as it does in truth, luck included.
"""

from dataclasses import dataclass
from random import Random

from classifier.columns import Outcome
from classifier.features import encode
from ponder.v1 import budget_pb2
from workers.training import countdown, families, wordings

MAX_BUDGET = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, its family, and the tokens after which its search ended (MAX_BUDGET + 1: later)."""

    prompt: str
    family: str
    need_tokens: int

    def outcome(self, budget_tokens: int = MAX_BUDGET) -> Outcome:
        """What a trace would say had the budget been `budget_tokens`."""
        stopped = self.need_tokens <= budget_tokens
        return Outcome(
            ids=tuple(encode(self.prompt).tolist()),
            thinking_tokens=min(self.need_tokens, budget_tokens),
            budget_tokens=budget_tokens,
            stop=budget_pb2.THINKING_STOP_FINISHED
            if stopped
            else budget_pb2.THINKING_STOP_EXHAUSTED,
            family=self.family,
        )


def ask(rng: Random) -> Question:
    """One question of the mixture."""
    if rng.random() < 0.75:
        size = rng.choices(countdown.SIZES, (6, 20, 30, 26, 18))[0]
        problem = countdown.random_problem(rng, size)
        prompt = wordings.countdown_prompt(rng, problem)
        return Question(prompt, "countdown", _search_tokens(rng, problem))
    if rng.random() < 0.5:
        equation = families.random_equation(rng)
        need = 3 + 5 * len(equation.steps())
        return Question(wordings.equation_prompt(rng, equation), "equation", need)
    item = families.random_arithmetic(rng)
    return Question(wordings.arithmetic_prompt(rng, item), "arithmetic", 3 + 4 * len(item.steps))


def _search_tokens(rng: Random, problem: countdown.Problem) -> int:
    size = len(problem.numbers)
    per_attempt = 4 + size + 4 * (size - 1)
    spent = 0
    while spent <= MAX_BUDGET:
        spent += per_attempt
        if countdown.random_attempt(rng, problem)[-1].result == problem.target:
            return spent + per_attempt * min(3, int(rng.expovariate(0.8)))
    return MAX_BUDGET + 1
