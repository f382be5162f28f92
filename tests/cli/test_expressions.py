"""The exact evaluator: right on everything that is arithmetic, refusing everything else."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.cli.expressions import MAX_LENGTH, NotAnExpression, numbers_in, value_of

OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


@st.composite
def combined(draw, parts):
    """A bracketed text, its exact value (None after a division by zero) and its numbers."""
    (left, a, used), (right, b, more) = draw(parts), draw(parts)
    op = draw(st.sampled_from("+-*/"))
    is_defined = a is not None and b is not None and (op != "/" or b != 0)
    value = OPERATIONS[op](a, b) if is_defined else None
    return f"({left} {op} {right})", value, used + more


LEAVES = st.integers(0, 99).map(lambda n: (str(n), Fraction(n), [n]))
EXPRESSIONS = st.recursive(LEAVES, combined, max_leaves=7)


@given(EXPRESSIONS)
def test_the_value_is_exact(expression):
    text, value, _ = expression

    if value is None:
        with pytest.raises(NotAnExpression):
            value_of(text)
    else:
        assert value_of(text) == value


@given(EXPRESSIONS)
def test_every_number_written_is_found_in_order(expression):
    text, _, numbers = expression

    assert numbers_in(text) == numbers


@given(st.text(max_size=60) | st.text("0123456789+-*/()., =xe_", max_size=60))
def test_any_text_is_a_value_or_refused(text):
    try:
        value = value_of(text)
    except NotAnExpression:
        return

    assert isinstance(value, Fraction)


@pytest.mark.parametrize(
    "text",
    ["", "2 ** 9", "7 // 2", "7 % 2", "1.5", "True", "x", "print(1)", "__import__('os')", "[1]",
     "1 if 1 else 2", "'a' * 3", "1j", "3 4", "1 +", "2 < 3", "1, 2"],
)  # fmt: skip
def test_what_is_not_arithmetic_on_whole_numbers_is_refused(text):
    with pytest.raises(NotAnExpression):
        value_of(text)


def test_precedence_and_glyphs_are_those_of_school():
    assert value_of("2 + 3 \N{MULTIPLICATION SIGN} 4 \N{DIVISION SIGN} 8 - -1") == Fraction(9, 2)


@pytest.mark.parametrize("text", ["(" * 2000 + "1" + ")" * 2000, "-" * 2000 + "1", "9" * 5000])
def test_hostile_lengths_are_refused(text):
    assert len(text) > MAX_LENGTH

    with pytest.raises(NotAnExpression):
        value_of(text)
