"""The prompts: how a person would ask each kind of problem, in several wordings."""

from __future__ import annotations

import string
from functools import cache
from random import Random

from reasoning_gym.algebra.simple_equations import SimpleEquationsConfig, SimpleEquationsDataset
from reasoning_gym.games.countdown import (
    QUESTION_FORMAT_TEMPLATE,
    CountdownConfig,
    CountdownDataset,
)

from workers.training.countdown import Problem
from workers.training.families import Arithmetic, Equation
from workers.training.systems import System

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
SYSTEM = (
    "Solve {system}.",
    "Solve for x and y: {system}",
    "Find x and y when {system}.",
    "If {system}, what are x and y?",
    "What are x and y if {system}?",
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


@cache
def reasoning_gym_equations() -> tuple[str, ...]:
    """Return the question forms of reasoning-gym's `simple_equations`."""
    return tuple(SimpleEquationsDataset(SimpleEquationsConfig(size=1))._prompt_templates)


REASONING_GYM_SUM = "State the final answer to the following arithmetic problem: {sum} ="
"""The question form of reasoning-gym's `chain_sum`, which the package does not name; a test
compares it with what the package asks."""


def equation_prompt(rng: Random, equation: Equation) -> str:
    """Ask for x."""
    return rng.choice(EQUATION).format(equation=equation)


def gym_equation_prompt(rng: Random, equation: Equation) -> str:
    """Ask for the value of some letter, as reasoning-gym does."""
    letter = rng.choice(string.ascii_lowercase)
    form = rng.choice(reasoning_gym_equations())
    return form.format(variable=letter, equation=equation.with_times_sign(letter))


def arithmetic_prompt(rng: Random, item: Arithmetic) -> str:
    """Ask for the value of a sum, one time in four as reasoning-gym does."""
    form = REASONING_GYM_SUM if rng.random() < 0.25 else rng.choice(ARITHMETIC)
    return form.format(sum=item)


def system_prompt(rng: Random, system: System) -> str:
    """Ask for x and y."""
    return rng.choice(SYSTEM).format(system=system)


def capital_prompt(rng: Random, country: str) -> str:
    """Ask for a capital."""
    return rng.choice(CAPITAL).format(country=country)
