"""Reads a configuration dataclass from environment variables, and documents it.

Each field says how its variable is parsed, in which unit it is and what it means; the name of the
variable is the prefix and the field's name. For the router's and the worker's configuration.
"""

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

T = TypeVar("T")
C = TypeVar("C")
Parser = Callable[[str], T]

AUTO: Final = "auto"
"""How None is written, see `optional`."""

_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class ConfigError(Exception):
    """The configuration is unusable. The text is one line for the operator."""


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
    secret: bool


def variable(default: T, parse: Parser[T], *, unit: str = "", meaning: str) -> T:
    """A dataclass field that is read from the environment."""
    return field(default=default, metadata={"variable": _Spec(parse, unit, meaning, False)})


def required(parse: Parser[T], *, unit: str = "", meaning: str, secret: bool = False) -> T:
    """A dataclass field whose variable must be set.

    A secret value, one that may hold a password, is not repeated when it is refused.
    """
    made = field(metadata={"variable": _Spec(parse, unit, meaning, secret)})
    return cast(T, made)


def read(
    config: type[C], prefix: str, environ: Mapping[str, str], problems: Iterable[str] = ()
) -> C:
    """Raises ConfigError that names every unknown and every bad variable at once.

    `problems`: what the caller found wrong; they are told with the others.
    """
    specs = {prefix + f.name.upper(): f for f in _fields_of(config)}
    problems = [*problems, *_unknown(environ, prefix, list(specs))]
    values: dict[str, Any] = {}
    for name, found in specs.items():
        spec = found.metadata["variable"]
        if name in environ:
            try:
                values[found.name] = spec.parse(environ[name])
            except ValueError as error:
                shown = name if spec.secret else f"{name}={environ[name]!r}"
                problems.append(f"{shown}: {error}")
        elif found.default is MISSING:
            problems.append(f"{name} must be set: {spec.meaning.removesuffix('.')}")
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


def help_text(variables: Iterable[Variable]) -> str:
    """The variables as the end of a program's --help."""
    lines = []
    for row in variables:
        default = "must be set" if row.default is None else f"default {row.default!r}"
        unit = f", {row.unit}" if row.unit else ""
        lines.append(f"{row.name}  ({default}{unit})")
        lines.append(textwrap.indent(row.meaning, "    "))
    return "\n".join(lines)


def text(value: str) -> str:
    """Any text but none."""
    if not value.strip():
        raise ValueError("is empty; give a value or leave the variable out")
    return value.strip()


def any_text(value: str) -> str:
    """Any text but none, spaces and line ends kept."""
    if not value:
        raise ValueError("is empty; give a value or leave the variable out")
    return value


def http_url(value: str) -> str:
    """http:// or https:// and a host; without the slash at its end."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as http://host:8000")
    return value.rstrip("/")


def path(value: str) -> Path:
    """A path, which need not exist."""
    return Path(text(value))


def optional(parse: Parser[T]) -> Parser[T | None]:
    """What `parse` accepts, or auto for None."""
    return lambda value: None if value == AUTO else parse(value)


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


def sha256(value: str) -> str:
    """A SHA-256 in lower-case hex."""
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("must be a SHA-256: 64 hexadecimal digits, in lower case")
    return value


def integer(low: int, high: float = math.inf) -> Parser[int]:
    """A whole number from low to high."""

    def parse(value: str) -> int:
        is_whole = value.isascii() and value.isdecimal()
        if not is_whole or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number{_between(low, high)}")
        return int(value)

    return parse


def number(low: float, high: float = math.inf, *, open_ends: bool = False) -> Parser[float]:
    """A finite number from low to high; with open_ends, strictly between."""
    limits = f" between {low} and {high}" if open_ends else _between(low, high)

    def parse(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            parsed = math.nan
        is_within = low < parsed < high if open_ends else low <= parsed <= high
        if not is_within or math.isinf(parsed):
            raise ValueError(f"must be a number{limits}")
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
    return tuple(map(address, names(value))) if value.strip() else ()


def address(value: str) -> str:
    """One host:port or unix:path."""
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    host, _, port = value.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and int(port) <= 65_535
    if not host or not is_port:
        raise ValueError(f"{value!r} is no address; give host:port or unix:path")
    return value


def _between(low: float, high: float) -> str:
    return f", {low} or more" if high == math.inf else f" from {low} to {high}"


def _unknown(environ: Mapping[str, str], prefix: str, known: list[str]) -> Iterator[str]:
    for name in sorted(environ):
        if name.startswith(prefix) and name not in known:
            # The common prefix would make any two look alike.
            words = [other.removeprefix(prefix) for other in known]
            close = get_close_matches(name.removeprefix(prefix), words, n=1)
            hint = f", did you mean {prefix}{close[0]}?" if close else ""
            yield f"{name}: unknown variable{hint}"


def _fields_of(config: type[Any]) -> list[Field[Any]]:
    return [f for f in fields(config) if "variable" in f.metadata]


def _shown(default: object) -> str | None:
    if default is MISSING:
        return None
    if default is None:
        return AUTO
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default).removesuffix(".0") if isinstance(default, float) else str(default)
