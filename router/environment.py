"""Reads a configuration dataclass from environment variables, and documents it.

Each field says how its variable is parsed, in which unit it is and what it means; the name of the
variable is the prefix and the field's name.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from router.errors import ConfigError

T = TypeVar("T")
C = TypeVar("C")
Parser = Callable[[str], T]
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One line of the configuration table. `default` None: the variable must be set."""

    name: str
    default: str | None
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class _Spec:
    parse: Parser[Any]
    unit: str
    meaning: str


def variable(default: T, parse: Parser[T], *, unit: str = "", meaning: str) -> T:
    """A dataclass field that is read from the environment."""
    return field(default=default, metadata={"variable": _Spec(parse, unit, meaning)})


def required(parse: Parser[T], *, unit: str = "", meaning: str) -> T:
    """A dataclass field whose variable must be set."""
    made = field(metadata={"variable": _Spec(parse, unit, meaning)})
    return cast(T, made)


def read(config: type[C], prefix: str, environ: Mapping[str, str]) -> C:
    """Raises ConfigError that names every unknown and every bad variable at once."""
    specs = {prefix + f.name.upper(): f for f in _fields_of(config)}
    problems = list(_unknown(environ, prefix, list(specs)))
    values: dict[str, Any] = {}
    for name, spec in specs.items():
        if name in environ:
            try:
                values[spec.name] = spec.metadata["variable"].parse(environ[name])
            except ValueError as error:
                problems.append(f"{name}={environ[name]!r}: {error}")
        elif spec.default is MISSING:
            problems.append(f"{name} must be set: {spec.metadata['variable'].meaning}")
    if problems:
        raise ConfigError("; ".join(problems))
    return config(**values)


def document(config: type[Any], prefix: str) -> list[Variable]:
    """Every variable of the configuration, in the order of its fields."""
    return [
        Variable(
            name=prefix + f.name.upper(),
            default=_shown(f.default),
            unit=f.metadata["variable"].unit,
            meaning=f.metadata["variable"].meaning,
        )
        for f in _fields_of(config)
    ]


def text(value: str) -> str:
    """Any text but none."""
    if not value.strip():
        raise ValueError("is empty; give a value or leave the variable out")
    return value.strip()


def one_of(*choices: str) -> Parser[str]:
    """One of the words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return parse


def switch(value: str) -> bool:
    """on or off."""
    return one_of("on", "off")(value) == "on"


def redis_url(value: str) -> str:
    """A URL that redis-py may be able to read."""
    if not value.startswith(_REDIS_SCHEMES):
        raise ValueError(f"must begin with one of {', '.join(_REDIS_SCHEMES)}")
    return value


def integer(low: int, high: int) -> Parser[int]:
    """A whole number from low to high."""

    def parse(value: str) -> int:
        if not (value.isascii() and value.isdecimal()) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def number(low: float, high: float, *, open_ends: bool = False) -> Parser[float]:
    """A finite number from low to high; with open_ends, strictly between."""

    def parse(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            parsed = math.nan
        if not (low < parsed < high if open_ends else low <= parsed <= high):
            raise ValueError(
                f"must be a number {'between' if open_ends else 'from'} {low} "
                f"{'and' if open_ends else 'to'} {high}"
            )
        return parsed

    return parse


def names(value: str) -> tuple[str, ...]:
    """Comma-separated words, at least one, none twice."""
    found = tuple(part.strip() for part in value.split(","))
    if not all(found) or len(set(found)) < len(found):
        raise ValueError("must be a comma-separated list without gaps and repetitions")
    return found


def addresses(value: str) -> tuple[str, ...]:
    """Comma-separated host:port or unix:path; may be empty."""
    found = names(value) if value.strip() else ()
    for address in found:
        _check_address(address)
    return found


def address(value: str) -> str:
    """One host:port or unix:path."""
    _check_address(value)
    return value


def _check_address(value: str) -> None:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{value!r} is no address; give host:port or unix:path")


def _unknown(environ: Mapping[str, str], prefix: str, known: list[str]) -> Iterator[str]:
    for name in sorted(environ):
        if name.startswith(prefix) and name not in known:
            close = get_close_matches(name, known, n=1)
            yield f"{name}: unknown variable" + (f", did you mean {close[0]}?" if close else "")


def _fields_of(config: type[Any]) -> list[Field[Any]]:
    return [f for f in fields(config) if "variable" in f.metadata]


def _shown(default: object) -> str | None:
    if default is MISSING:
        return None
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default)
