"""Whether an answer is right, decided without any model. Used by `ponder demo`."""

from collections.abc import Sequence
from fractions import Fraction

from ponder.cli.expressions import NotAnExpression, numbers_in, value_of


def is_countdown_solution(answer: str, numbers: Sequence[int], target: int) -> bool:
    """Whether the expression uses each number exactly once and equals the target.

    `3 * 8 = 24` is accepted, but only when both sides are right.
    """
    expression, _, claimed = answer.partition("=")
    try:
        right_side = value_of(claimed) if claimed.strip() else Fraction(target)
        reached = value_of(expression) == right_side == target
        return reached and sorted(numbers_in(expression)) == sorted(numbers)
    except NotAnExpression:
        return False


def is_number(answer: str, expected: int) -> bool:
    """Whether the answer is this number, written as `7`, `7.` or `x = 7`."""
    _, _, right_side = answer.rpartition("=")
    try:
        return value_of(right_side.strip().removesuffix(".")) == expected
    except NotAnExpression:
        return False


def is_text(answer: str, expected: str) -> bool:
    """Whether the answer is this text, whatever its case and final stop."""
    return answer.strip().removesuffix(".").casefold() == expected.casefold()
