"""Exact arithmetic on an answer's text: parsed, never executed, and computed in fractions."""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType

MAX_LENGTH = 300
"""Of an expression, in characters. Keeps the parser's recursion and the numbers small."""

_OPERATIONS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = (
    MappingProxyType(
        {
            ast.Add: operator.add,
            ast.Sub: operator.sub,
            ast.Mult: operator.mul,
            ast.Div: operator.truediv,
        }
    )
)
_GLYPHS = str.maketrans({"\N{MULTIPLICATION SIGN}": "*", "\N{DIVISION SIGN}": "/"})


class NotAnExpression(ValueError):
    """The text is no sum of whole numbers with + - * / and brackets, or divides by zero."""


def value_of(text: str) -> Fraction:
    """Raises NotAnExpression."""
    return _evaluate(_parse(text))


def numbers_in(text: str) -> list[int]:
    """The whole numbers written in an expression, in order. Raises NotAnExpression."""
    return list(_constants(_parse(text)))


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise NotAnExpression(f"longer than {MAX_LENGTH} characters")
    try:
        return ast.parse(text.translate(_GLYPHS).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotAnExpression(f"not an expression: {text!r}") from error


def _evaluate(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() as value) if type(value) is int:
            return Fraction(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand)
        case ast.BinOp(left=left, op=op, right=right) if operation := _OPERATIONS.get(type(op)):
            try:
                return operation(_evaluate(left), _evaluate(right))
            except ZeroDivisionError as error:
                raise NotAnExpression("divides by zero") from error
    raise NotAnExpression(f"{type(node).__name__} is not allowed")


def _constants(node: ast.expr) -> Iterator[int]:
    match node:
        case ast.Constant(value=int() as value) if type(value) is int:
            yield value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield from _constants(operand)
        case ast.BinOp(left=left, right=right):
            yield from _constants(left)
            yield from _constants(right)
        case _:
            raise NotAnExpression(f"{type(node).__name__} is not allowed")
