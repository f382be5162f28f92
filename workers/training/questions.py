"""Questions to ask the trained model, of a given split, each with what is needed to score it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from workers.training import countdown, families, wordings
from workers.training.countdown import Problem
from workers.training.reading import countdown_is_right

EASY_FAMILIES = ("capital", "equation", "arithmetic")


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with what is needed to score its answer: the answer, or the Countdown problem."""

    prompt: str
    family: str
    answer: str | None = None
    problem: Problem | None = None

    def is_right(self, answer: str) -> bool:
        """Score an answer."""
        if self.problem is not None:
            return countdown_is_right(answer, self.problem)
        return answer.strip() == self.answer


def draw_question(rng: Random, split: str) -> Question:
    """Draw a question: one in eight of each easy family, the rest Countdown of every size."""
    family = rng.choices((*EASY_FAMILIES, "countdown"), (1, 1, 1, 5))[0]
    if family == "countdown":
        return draw_countdown(rng, split, rng.choice(countdown.SIZES))
    return draw_easy(rng, split, family)


def draw_easy(rng: Random, split: str, family: str) -> Question:
    """Draw a question of one of EASY_FAMILIES; capitals have no held-out split."""
    if family == "capital":
        country, city = rng.choice(sorted(families.CAPITALS.items()))
        return Question(wordings.capital_prompt(rng, country), family, answer=city)
    if family == "equation":
        while (equation := families.random_equation(rng)).split != split:
            pass
        prompt = wordings.equation_prompt(rng, equation)
        return Question(prompt, family, answer=f"x = {equation.solution}")
    while (item := families.random_arithmetic(rng)).split != split:
        pass
    return Question(wordings.arithmetic_prompt(rng, item), family, answer=str(item.solution))


def draw_countdown(rng: Random, split: str, size: int) -> Question:
    """Draw a Countdown question of one size."""
    while (problem := countdown.random_problem(rng, size)).split != split:
        pass
    return countdown_question(rng, problem)


def countdown_question(rng: Random, problem: Problem) -> Question:
    """Ask one Countdown problem."""
    family = f"countdown-{len(problem.numbers)}"
    return Question(wordings.countdown_prompt(rng, problem), family, problem=problem)
