"""The prompts: how a person would ask each kind of problem, in several wordings."""

from __future__ import annotations

from functools import cache
from random import Random

from reasoning_gym.games.countdown import (
    QUESTION_FORMAT_TEMPLATE,
    CountdownConfig,
    CountdownDataset,
)

from workers.training.countdown import Problem
from workers.training.families import Arithmetic, Equation

COUNTDOWN = (
    "Reach {target} using each of {numbers} once.",
    "Make {target} from {numbers}, using every number exactly once.",
    "Use {numbers} to get {target}.",
    "How can I get {target} from {numbers}?",
    "With {numbers} reach {target}.",
    "Combine {numbers} into {target} with + - * and /.",
)
EQUATION = (
    "Solve {equation}",
    "Solve for x: {equation}",
    "What is x if {equation}?",
    "Find x when {equation}.",
    "If {equation}, what is x?",
)
ARITHMETIC = (
    "What is {sum}?",
    "Compute {sum}.",
    "Calculate {sum}.",
    "How much is {sum}?",
    "{sum} = ?",
)
CAPITAL = (
    "What is the capital of {country}?",
    "Name the capital of {country}.",
    "Which city is the capital of {country}?",
    "capital of {country}?",
    "Tell me the capital city of {country}.",
)


@cache
def reasoning_gym_countdown() -> tuple[str, ...]:
    """Return the question forms of reasoning-gym's `countdown`, bare and with its instructions."""
    bare = tuple(CountdownDataset(CountdownConfig(size=1))._prompt_templates)
    return bare + tuple(QUESTION_FORMAT_TEMPLATE.format(question=form) for form in bare)


def countdown_prompt(rng: Random, problem: Problem) -> str:
    """Ask a Countdown problem, one time in four as reasoning-gym does."""
    if rng.random() < 0.25:
        numbers = ", ".join(map(str, problem.numbers))
        form = rng.choice(reasoning_gym_countdown())
    else:
        numbers = _listing(rng, problem.numbers)
        form = rng.choice(COUNTDOWN)
    return form.format(numbers=numbers, target=problem.target)


def _listing(rng: Random, numbers: tuple[int, ...]) -> str:
    words = list(map(str, numbers))
    last = rng.choice((" and ", ", ", ", and "))
    return ", ".join(words[:-1]) + last + words[-1]


def equation_prompt(rng: Random, equation: Equation) -> str:
    """Ask for x."""
    return rng.choice(EQUATION).format(equation=equation)


def arithmetic_prompt(rng: Random, item: Arithmetic) -> str:
    """Ask for the value of a sum."""
    return rng.choice(ARITHMETIC).format(sum=item)


def capital_prompt(rng: Random, country: str) -> str:
    """Ask for a capital."""
    return rng.choice(CAPITAL).format(country=country)
