"""What `ponder demo` asks: within the shipped model's range, from a dozen thinking tokens to
thousands, each with a check that needs no model.

The range: numbers 1..12, running values and targets up to 99, see workers/training/.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ponder.cli import checks
from ponder.cli.words import tier_word
from ponder.v1.budget_pb2 import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt, how to tell a right answer, and what the router must heed, if anything."""

    prompt: str
    is_right: Callable[[str], bool]
    budget_tokens: int | None = None
    tier: Tier.ValueType | None = None
    coverage: float | None = None

    @property
    def condition(self) -> str:
        """What is asked besides, such as `budget 100`; may be empty."""
        if self.budget_tokens is not None:
            return f"budget {self.budget_tokens}"
        if self.tier is not None:
            return f"tier {tier_word(self.tier)}"
        return "" if self.coverage is None else f"coverage {self.coverage:g}"


def text(prompt: str, expected: str) -> Question:
    """A question with one right word."""
    return Question(prompt=prompt, is_right=lambda answer: checks.is_text(answer, expected))


def number(prompt: str, expected: int) -> Question:
    """A question with one right number."""
    return Question(prompt=prompt, is_right=lambda answer: checks.is_number(answer, expected))


def countdown(prompt: str, *, target: int, numbers: tuple[int, ...]) -> Question:
    """Any expression over all the numbers that equals the target is right."""
    listing = ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    return Question(
        prompt=prompt.format(target=target, numbers=listing),
        is_right=lambda answer: checks.is_countdown_solution(answer, numbers, target),
    )


def questions() -> tuple[Question, ...]:
    """Easy ones first. The last three ask for a coverage, a budget and a tier."""
    reach, get = "Reach {target} using each of {numbers} once.", "Use {numbers} to get {target}."
    return (
        text("What is the capital of Peru?", "Lima"),
        text("Name the capital of Finland.", "Helsinki"),
        number("Solve 3x + 5 = 20", 5),
        number("What is x if 7x - 6 = 50?", 8),
        number("What is 17 + 8 - 6 + 12?", 31),
        number("How much is 45 - 9 + 3 - 11 + 7?", 35),
        countdown(reach, target=21, numbers=(3, 7)),
        countdown(get, target=24, numbers=(3, 12, 6)),
        countdown(reach, target=24, numbers=(3, 5, 6, 8)),
        countdown(get, target=1, numbers=(9, 7, 9, 12)),
        countdown(reach, target=3, numbers=(10, 4, 7, 4, 5)),
        countdown(reach, target=87, numbers=(9, 10, 5, 6, 12, 1)),
        # Far harder than it looks: one chain in ninety reaches the target.
        replace(countdown(reach, target=47, numbers=(8, 11, 9, 12)), coverage=0.8),
        replace(countdown(get, target=16, numbers=(5, 4, 12, 9, 8, 5)), budget_tokens=100),
        replace(countdown(reach, target=57, numbers=(6, 5, 8, 11, 4)), tier=Tier.TIER_COMPLEX),
    )
