"""Problems of the easy families from reasoning-gym's own generators, scored by its scorers.

Its generators know no range: what does not fit the model's is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from reasoning_gym.algebra.simple_equations import SimpleEquationsConfig, SimpleEquationsDataset
from reasoning_gym.arithmetic.chain_sum import ChainSumConfig, ChainSumDataset

from workers.training.countdown import MAX_INPUT, MAX_VALUE, Step
from workers.training.families import MAX_TERMS, Arithmetic, Equation

_EQUATION = re.compile(
    r"(?:(?P<factor>\d+)\*)?[a-z](?: (?P<op>[-+]) (?P<offset>\d+))? = (?P<total>\d+)"
)


@dataclass(frozen=True, slots=True)
class GymProblem:
    """One entry of a reasoning-gym dataset that is within the range of the model."""

    question: str
    item: Equation | Arithmetic
    score: Callable[[str], float]  # of an answer; 1.0 is right


def gym_equations(rng: Random) -> Iterator[GymProblem]:
    """Draw endlessly from `simple_equations`: two terms, one of them with the unknown."""
    while True:
        config = SimpleEquationsConfig(
            min_terms=2,
            max_terms=2,
            max_value=MAX_INPUT,
            operators_weights=[0.5, 0.5, 0.0],
            seed=rng.getrandbits(32),
        )
        yield from _in_range(SimpleEquationsDataset(config), _read_equation)


def gym_sums(rng: Random) -> Iterator[GymProblem]:
    """Draw endlessly from `chain_sum`: terms of one digit or two."""
    while True:
        config = ChainSumConfig(max_terms=MAX_TERMS, max_digits=2, seed=rng.getrandbits(32))
        yield from _in_range(ChainSumDataset(config), _read_sum)


def _in_range(
    dataset: Any, read: Callable[[dict[str, Any]], Equation | Arithmetic | None]
) -> Iterator[GymProblem]:
    for entry in dataset:
        if (item := read(entry["metadata"])) is not None:
            yield GymProblem(entry["question"], item, _scorer(dataset, entry))


def _scorer(dataset: Any, entry: dict[str, Any]) -> Callable[[str], float]:
    return lambda answer: float(dataset.score_answer(answer.strip(), entry))


def _read_equation(metadata: dict[str, Any]) -> Equation | None:
    match = _EQUATION.fullmatch(metadata["equation"])
    if match is None:
        return None
    offset = int(match["offset"] or 0) * (-1 if match["op"] == "-" else 1)
    equation = Equation(int(match["factor"] or 1), offset, int(match["total"]))
    return equation if equation.is_in_range else None


def _read_sum(metadata: dict[str, Any]) -> Arithmetic | None:
    first, *rest = metadata["expression"].split(" ")
    left, steps = int(first), []
    for op, term in zip(rest[::2], rest[1::2], strict=True):
        right = int(term)
        steps.append(Step(left, op, right, left + right if op == "+" else left - right))
        left = steps[-1].result
    values = [int(first), *(step.result for step in steps)]
    terms_fit = all(1 <= step.right <= MAX_INPUT for step in steps)
    return Arithmetic(tuple(steps)) if terms_fit and _fit(values) else None


def _fit(values: list[int]) -> bool:
    return all(1 <= value <= MAX_VALUE for value in values)
