"""Asks a Prometheus what the panels ask, for data that really came from the programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from deploy.checks.dashboards import Query, queries
from deploy.checks.expressions import OTHERS, asked_by
from deploy.checks.rules import read_rules

_TIMEOUT_S = 30
_STAND_IN = " or vector(0)"


class PrometheusError(Exception):
    """It does not answer, or does not take the expression."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How many series an expression gave; `error` is empty if it was taken."""

    query: Query
    num_series: int
    error: str = ""

    @property
    def is_excused(self) -> bool:
        """It asks for what programs other than ours tell."""
        return bool(asked_by(self.query.expression).series & OTHERS)


def shipped_queries(directory: Path) -> Iterator[Query]:
    """Of every dashboard, and of every recording rule."""
    for path in sorted((directory / "dashboards").glob("*.json")):
        yield from queries(json.loads(path.read_text()), path.name)
    for rule in read_rules(directory / "rules.yaml"):
        if "record" in rule:
            yield Query("rules.yaml", rule["record"], rule["expr"], "", "short")


def ask_all(url: str, asked: Sequence[Query]) -> Iterator[Answer]:
    """One after the other, as of now; without the zero that stands in for missing data."""
    for query in asked:
        expression = query.expression.removesuffix(_STAND_IN)
        try:
            yield Answer(query, len(ask(url, "query", query=expression)))
        except PrometheusError as error:
            yield Answer(query, 0, str(error))


def ask(url: str, what: str, **parameters: Any) -> list[Any]:
    """The series that /api/v1/WHAT gives. Raises PrometheusError."""
    address = f"{url.rstrip('/')}/api/v1/{what}?{urlencode(parameters)}"
    try:
        with urlopen(address, timeout=_TIMEOUT_S) as reply:
            found = json.load(reply)
    except HTTPError as error:
        raise PrometheusError(json.load(error).get("error", str(error))) from error
    except (URLError, OSError, ValueError) as error:
        raise PrometheusError(f"{url}: {error}") from error
    data = found["data"]
    return [data] if data["resultType"] == "scalar" else list(data["result"])
