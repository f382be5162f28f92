"""Questions to ask the trained model, of a given split, each with what is needed to score it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeVar

from workers.training import countdown, families, wordings
from workers.training.countdown import Problem
from workers.training.gym import GymProblem, gym_equations, gym_sums
from workers.training.reading import (
    countdown_is_right,
    countdown_is_well_formed,
    system_is_right,
    system_is_well_formed,
)
from workers.training.systems import System, random_system

EASY_FAMILIES = ("capital", "equation", "arithmetic")
"""What needs a dozen thinking tokens."""

SYSTEM_FAMILY = "system"

Drawn = TypeVar("Drawn", Problem, System, families.Equation, families.Arithmetic)


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with how its answers are scored, and the problem when it takes a search."""

    prompt: str
    family: str
    is_right: Callable[[str], bool]
    is_well_formed: Callable[[str], bool] | None = None
    problem: Problem | System | None = None


class QuestionSource:
    """Draws questions of one split; half of the equations and sums are reasoning-gym's own."""

    def __init__(self, rng: Random, split: str) -> None:
        self._rng = rng
        self._split = split
        self._gym = {"equation": gym_equations(rng), "arithmetic": gym_sums(rng)}

    def any_family(self) -> Question:
        """One in nine of each easy family and of systems, the rest Countdown of every size."""
        families_drawn = (*EASY_FAMILIES, SYSTEM_FAMILY, "countdown")
        family = self._rng.choices(families_drawn, (1, 1, 1, 1, 5))[0]
        if family == "countdown":
            return self.countdown(self._rng.choice(countdown.SIZES))
        return self.system() if family == SYSTEM_FAMILY else self.easy(family)

    def easy(self, family: str) -> Question:
        """A question of one of EASY_FAMILIES; capitals have no held-out split."""
        if family == "capital":
            country, city = self._rng.choice(sorted(families.CAPITALS.items()))
            prompt = wordings.capital_prompt(self._rng, country)
            return Question(prompt, family, partial(_equals, city))
        if self._rng.random() < 0.5:
            return self._from_gym(family, self._gym[family])
        if family == "equation":
            equation = self._of_split(families.random_equation)
            prompt = wordings.equation_prompt(self._rng, equation)
            return Question(prompt, family, partial(_equals, f"x = {equation.solution}"))
        item = self._of_split(families.random_arithmetic)
        prompt = wordings.arithmetic_prompt(self._rng, item)
        return Question(prompt, family, partial(_equals, str(item.solution)))

    def system(self) -> Question:
        """Two equations with two unknowns."""
        return system_question(self._rng, self._of_split(random_system))

    def countdown(self, size: int) -> Question:
        """A Countdown question of one size."""
        problem = self._of_split(partial(countdown.random_problem, size=size))
        return countdown_question(self._rng, problem)

    def _from_gym(self, family: str, problems: Iterator[GymProblem]) -> Question:
        entry = next(p for p in problems if p.item.split == self._split)
        return Question(entry.question, family, lambda answer: entry.score(answer) == 1.0)

    def _of_split(self, draw: Callable[[Random], Drawn]) -> Drawn:
        while (item := draw(self._rng)).split != self._split:
            pass
        return item


def countdown_question(rng: Random, problem: Problem) -> Question:
    """Ask one Countdown problem."""
    return Question(
        wordings.countdown_prompt(rng, problem),
        f"countdown-{len(problem.numbers)}",
        partial(countdown_is_right, problem=problem),
        partial(countdown_is_well_formed, problem=problem),
        problem,
    )


def system_question(rng: Random, system: System) -> Question:
    """Ask one system of equations."""
    return Question(
        wordings.system_prompt(rng, system),
        SYSTEM_FAMILY,
        partial(system_is_right, system=system),
        system_is_well_formed,
        system,
    )


def _equals(expected: str, answer: str) -> bool:
    return answer.strip() == expected
