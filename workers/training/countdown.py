"""Countdown: reach a target from given numbers, each used once. Rules, problems, solver, checker.

A solution is a left chain: start from one number, then apply one operation with one more number
at a time, the running value staying an integer in 1..MAX_VALUE. reasoning-gym's `countdown`
generator builds its problems the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

MAX_INPUT = 12
"""Largest given number. Kept small so that a model of a million parameters masters every step."""

MAX_VALUE = 99
"""Largest running value and target."""

SIZES = (2, 3, 4, 5, 6)
"""How many numbers a problem may give."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a chain: `left op right = result`."""

    left: int
    op: str
    right: int
    result: int


Chain = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Numbers in the order in which they are presented, and the target to reach."""

    numbers: tuple[int, ...]
    target: int

    @property
    def key(self) -> str:
        """Identity of the problem whatever the order of its numbers."""
        return f"countdown:{','.join(map(str, sorted(self.numbers)))}:{self.target}"

    @property
    def split(self) -> str:
        """One of SPLITS, decided by the hash of the key, so that the splits never overlap."""
        return split_of(self.key)


def split_of(key: str) -> str:
    """Assign a problem key to a split: 80 % train, 5 % validation, 15 % test."""
    bucket = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % 100
    if bucket < 15:
        return "test"
    return "validation" if bucket < 20 else "train"


def legal_steps(left: int, right: int) -> list[Step]:
    """Return the operations whose result stays an integer in 1..MAX_VALUE."""
    steps = []
    if left + right <= MAX_VALUE:
        steps.append(Step(left, "+", right, left + right))
    if left > right:
        steps.append(Step(left, "-", right, left - right))
    if left * right <= MAX_VALUE:
        steps.append(Step(left, "*", right, left * right))
    if left % right == 0:
        steps.append(Step(left, "/", right, left // right))
    return steps


def random_problem(rng: Random, size: int) -> Problem:
    """Draw a solvable problem of any split whose target is not one of its numbers."""
    while True:
        numbers = [rng.randint(1, MAX_INPUT) for _ in range(size)]
        value = numbers[0]
        for right in numbers[1:]:
            steps = legal_steps(value, right)
            if not steps:
                break
            value = rng.choice(steps).result
        else:
            if value not in numbers:
                rng.shuffle(numbers)
                return Problem(tuple(numbers), value)


def problems(rng: Random, size: int, split: str, count: int) -> list[Problem]:
    """Draw up to `count` distinct problems of a split; small sizes may have fewer in all."""
    found: dict[str, Problem] = {}
    for _ in range(400 * count):
        problem = random_problem(rng, size)
        if problem.split == split:
            found.setdefault(problem.key, problem)
        if len(found) == count:
            break
    return list(found.values())


def random_attempt(rng: Random, problem: Problem) -> Chain:
    """Draw a random chain over all numbers; the last step takes the target when it can.

    The look-ahead on the last step is the only guidance: which orders and operations to try is
    left to chance, so that accuracy grows smoothly with the number of attempts.
    """
    while True:
        order = list(problem.numbers)
        rng.shuffle(order)
        chain = _random_chain(rng, order, problem.target)
        if chain is not None:
            return chain


def _random_chain(rng: Random, order: Sequence[int], target: int) -> Chain | None:
    value, chain = order[0], []
    for position, right in enumerate(order[1:], start=2):
        steps = legal_steps(value, right)
        if not steps:
            return None
        hits = [s for s in steps if s.result == target] if position == len(order) else []
        chain.append(hits[0] if hits else rng.choice(steps))
        value = chain[-1].result
    return tuple(chain)


def solve(rng: Random, problem: Problem) -> Chain:
    """Return a random solution of a solvable problem."""
    while True:
        chain = random_attempt(rng, problem)
        if chain[-1].result == problem.target:
            return chain


def is_solvable(problem: Problem) -> bool:
    """Search every left chain."""
    return any(
        _reachable(number, _without(problem.numbers, i), problem.target)
        for i, number in enumerate(problem.numbers)
    )


def _reachable(value: int, rest: tuple[int, ...], target: int) -> bool:
    if not rest:
        return value == target
    return any(
        _reachable(step.result, _without(rest, i), target)
        for i, right in enumerate(rest)
        for step in legal_steps(value, right)
    )


def _without(numbers: tuple[int, ...], index: int) -> tuple[int, ...]:
    return numbers[:index] + numbers[index + 1 :]


def expression(chain: Chain) -> str:
    """Write a chain as one fully bracketed expression, such as `((3 * 5) - 6) + 8`."""
    text = "(" * (len(chain) - 1) + f"{chain[0].left} {chain[0].op} {chain[0].right}"
    for step in chain[1:]:
        text += f") {step.op} {step.right}"
    return text
