"""The easy families: facts, linear equations, chain arithmetic. Each item carries its answer.

They need a dozen thinking tokens or fewer; Countdown (countdown.py) needs up to ten thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from workers.training.countdown import MAX_INPUT, MAX_VALUE, Step, legal_steps, split_of

CAPITALS: Mapping[str, str] = MappingProxyType(
    {
        "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
        "Portugal": "Lisbon", "Austria": "Vienna", "Switzerland": "Bern", "Belgium": "Brussels",
        "Denmark": "Copenhagen", "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki",
        "Poland": "Warsaw", "Hungary": "Budapest", "Greece": "Athens", "Ireland": "Dublin",
        "Russia": "Moscow", "Ukraine": "Kyiv", "Turkey": "Ankara", "Egypt": "Cairo",
        "Kenya": "Nairobi", "Ghana": "Accra", "Senegal": "Dakar", "Morocco": "Rabat",
        "Japan": "Tokyo", "China": "Beijing", "India": "Delhi", "Thailand": "Bangkok",
        "Vietnam": "Hanoi", "Indonesia": "Jakarta", "Iran": "Tehran", "Iraq": "Baghdad",
        "Canada": "Ottawa", "Cuba": "Havana", "Peru": "Lima", "Chile": "Santiago",
        "Ecuador": "Quito", "Colombia": "Bogota", "Venezuela": "Caracas", "Australia": "Canberra",
    }
)  # fmt: skip
"""Facts are memorised, so they have no held-out split: only their wordings vary."""


@dataclass(frozen=True, slots=True)
class Equation:
    """`factor * x + offset = total`; a negative offset is written as a subtraction."""

    factor: int
    offset: int
    total: int

    @property
    def solution(self) -> int:
        """The value of x."""
        return (self.total - self.offset) // self.factor

    @property
    def is_in_range(self) -> bool:
        """Whether solution and values are within the ranges of the model."""
        scaled = self.total - self.offset
        return (
            (self.factor > 1 or self.offset != 0)
            and scaled % self.factor == 0
            and 1 <= self.solution <= MAX_INPUT
            and all(1 <= value <= MAX_VALUE for value in (scaled, self.total))
        )

    @property
    def key(self) -> str:
        """Identity for the split."""
        return f"equation:{self.factor}:{self.offset}:{self.total}"

    @property
    def split(self) -> str:
        """One of countdown.SPLITS."""
        return split_of(self.key)

    def __str__(self) -> str:
        left = "x" if self.factor == 1 else f"{self.factor}x"
        if self.offset:
            left += f" {'+' if self.offset > 0 else '-'} {abs(self.offset)}"
        return f"{left} = {self.total}"

    def with_times_sign(self, letter: str) -> str:
        """Write it as reasoning-gym does: `3*a + 5 = 20`."""
        return str(self).replace(f"{self.factor}x", f"{self.factor}*x").replace("x", letter)

    def steps(self) -> tuple[Step, ...]:
        """Undo the offset, then the factor, leaving out the steps that change nothing."""
        value, steps = self.total, []
        if self.offset:
            op = "-" if self.offset > 0 else "+"
            steps.append(Step(value, op, abs(self.offset), value - self.offset))
            value -= self.offset
        if self.factor > 1:
            steps.append(Step(value, "/", self.factor, value // self.factor))
        return tuple(steps)


def random_equation(rng: Random) -> Equation:
    """Draw an equation with a solution in 1..MAX_INPUT and every value in 1..MAX_VALUE."""
    while True:
        factor, solution = rng.randint(1, MAX_INPUT), rng.randint(1, MAX_INPUT)
        offset = rng.randint(-MAX_INPUT, MAX_INPUT)
        equation = Equation(factor, offset, factor * solution + offset)
        if equation.is_in_range:
            return equation


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A sum of terms evaluated from left to right, every running value in 1..MAX_VALUE."""

    steps: tuple[Step, ...]

    @property
    def solution(self) -> int:
        """The value of the sum."""
        return self.steps[-1].result

    @property
    def key(self) -> str:
        """Identity for the split."""
        return f"arithmetic:{self}"

    @property
    def split(self) -> str:
        """One of countdown.SPLITS."""
        return split_of(self.key)

    def __str__(self) -> str:
        return str(self.steps[0].left) + "".join(f" {s.op} {s.right}" for s in self.steps)


MAX_TERMS = 7


def random_arithmetic(rng: Random) -> Arithmetic:
    """Draw a sum of 2 to MAX_TERMS terms, some of them subtracted."""
    value, steps = rng.randint(1, MAX_VALUE // 2), []
    for _ in range(rng.randint(1, MAX_TERMS - 1)):
        choices = [s for s in legal_steps(value, rng.randint(1, MAX_INPUT)) if s.op in "+-"]
        steps.append(rng.choice(choices))
        value = steps[-1].result
    return Arithmetic(tuple(steps))
