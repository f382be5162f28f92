"""Two equations with two unknowns, solved by trial: a family that rewards checking.

    x + 3y = 19 and 4x - y = 16

The teacher tries x = 1, 2, 3, ... A trial that fits the first equation still has to be checked in
the second. How many trials it takes cannot be read off the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from workers.training.countdown import MAX_INPUT, MAX_VALUE, Chain, Step, split_of
from workers.training.lines import write_chain

MAX_Y_FACTOR = 5
"""Small, so that many trials fit the first equation and have to be checked in the second."""


@dataclass(frozen=True, slots=True)
class System:
    """`x + y_factor * y = first_total` and `x_factor * x op y = second_total`, op + or -."""

    y_factor: int
    first_total: int
    x_factor: int
    op: str
    second_total: int

    @property
    def key(self) -> str:
        """Identity for the split."""
        first = f"{self.y_factor}:{self.first_total}"
        return f"system:{first}:{self.x_factor}:{self.op}:{self.second_total}"

    @property
    def split(self) -> str:
        """One of countdown.SPLITS."""
        return split_of(self.key)

    def __str__(self) -> str:
        first = f"x + {self.y_factor}y = {self.first_total}"
        return f"{first} and {self.x_factor}x {self.op} y = {self.second_total}"

    def holds(self, x: int, y: int) -> bool:
        """Whether both equations hold; the independent check of every answer."""
        signed_y = y if self.op == "+" else -y
        first = x + self.y_factor * y == self.first_total
        return first and self.x_factor * x + signed_y == self.second_total

    def solution(self) -> tuple[int, int]:
        """The one pair x, y within 1..MAX_INPUT that solves the system."""
        inputs = range(1, MAX_INPUT + 1)
        return next((x, y) for x in inputs for y in inputs if self.holds(x, y))

    def trial(self, x: int) -> tuple[Chain, ...]:
        """The steps of trying `x`, up to the one that shows whether it fits.

        y from the first equation, as far as it is whole; then the left side of the second, as far
        as it stays in 1..MAX_VALUE.
        """
        rest = self.first_total - x
        difference = Step(self.first_total, "-", x, rest)
        if rest % self.y_factor or rest // self.y_factor > MAX_INPUT:
            return ((difference,),)
        y = rest // self.y_factor
        product = Step(self.x_factor, "*", x, self.x_factor * x)
        value = product.result + (y if self.op == "+" else -y)
        first = (difference, Step(rest, "/", self.y_factor, y))
        if not 1 <= value <= MAX_VALUE:
            return first, (product,)
        return first, (product, Step(product.result, self.op, y, value))


def random_system(rng: Random) -> System:
    """Draw a system of any split, with every value of its solution's trial in 1..MAX_VALUE."""
    while True:
        x, y = rng.randint(1, MAX_INPUT), rng.randint(1, MAX_INPUT)
        y_factor, x_factor = rng.randint(2, MAX_Y_FACTOR), rng.randint(2, MAX_INPUT)
        op = rng.choice("+-")
        second = x_factor * x + (y if op == "+" else -y)
        totals = (x + y_factor * y, x_factor * x, second)
        if all(1 <= total <= MAX_VALUE for total in totals):
            return System(y_factor, totals[0], x_factor, op, second)


def system_bodies(system: System) -> list[str]:
    """Write the trials of x = 1, 2, ... after their numbers, up to the one that fits."""
    x_solution, _ = system.solution()
    return [system_body(system, x) for x in range(1, x_solution + 1)]


def system_body(system: System, x: int) -> str:
    """Write one trial after its number: the system, the steps, the verdict."""
    head = f" {system.first_total} {system.y_factor} {system.x_factor} {system.op}"
    chains = ",".join(map(write_chain, system.trial(x)))
    verdict = "yes" if x == system.solution()[0] else "no"
    return f"{head} {system.second_total}:{chains} {verdict}"


def system_answer(x: int, y: int) -> str:
    """Write a solution as an answer."""
    return f"x = {x}, y = {y}"
