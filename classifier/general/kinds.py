"""The kinds of request that the generated prompts have, and the tier of each."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """What is asked for."""

    SMALL_TALK = "small talk"
    FACT = "fact"
    CHOICE = "choice"
    REWRITE = "rewrite"
    ONE_STEP = "one step"
    WRITE = "write"
    EXPLAIN = "explain"
    SEVERAL_STEPS = "several steps"
    CODE = "code"
    ADVANCED = "advanced"
    OLYMPIAD = "olympiad"
    SHORT_PUZZLE = "short puzzle"
    PUZZLE = "puzzle"
    LONG_PUZZLE = "long puzzle"


TIER_OF_KIND: Final = MappingProxyType(
    {
        Kind.SMALL_TALK: "simple",
        Kind.FACT: "simple",
        Kind.CHOICE: "simple",
        Kind.REWRITE: "simple",
        Kind.ONE_STEP: "simple",
        Kind.WRITE: "moderate",
        Kind.EXPLAIN: "moderate",
        Kind.SEVERAL_STEPS: "moderate",
        Kind.CODE: "moderate",
        Kind.ADVANCED: "complex",
        Kind.OLYMPIAD: "research",
        Kind.SHORT_PUZZLE: "simple",
        Kind.PUZZLE: "moderate",
        Kind.LONG_PUZZLE: "complex",
    }
)
"""As the data's own tiers are: what can be said at once, what takes a few steps, what university
or competition asks, what an olympiad asks."""
