"""The dashboards for Grafana: their shape, and what their panels ask for."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

from deploy.checks.expressions import asked_by, mistakes

RANGE: Final = "1h"
"""What $__range is taken as: the time that a dashboard shows."""
_SCHEMA = Path(__file__).with_name("dashboard.schema.json")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_SHOWN_LABEL = re.compile(r"\{\{(\w+)\}\}")
_BUILT_IN = ("__range",)


@dataclass(frozen=True, slots=True)
class Query:
    """One expression with its variables filled in, and where it stands."""

    dashboard: str
    panel: str
    expression: str
    legend: str
    unit: str

    @property
    def place(self) -> str:
        return f"{self.dashboard}: {self.panel}"


def check_dashboards(paths: Sequence[Path], known: frozenset[str]) -> Iterator[str]:
    """`known` are the series there are. Messages begin with the file."""
    documents: dict[str, Any] = {}
    for path in paths:
        try:
            documents[path.name] = json.loads(path.read_text())
        except ValueError as error:
            yield f"{path.name}: is no JSON: {error}"
    for name, document in documents.items():
        yield from (f"{name}: {problem}" for problem in _document(document, name, known))
    for field in ("uid", "title"):
        times = Counter(str(document.get(field)) for document in documents.values())
        yield from (f"{field} {value}: is there twice" for value, n in times.items() if n > 1)


def queries(document: Any, name: str) -> Iterator[Query]:
    """Those of every panel."""
    values = {row["name"]: row["query"] for row in document["templating"]["list"]}
    values["__range"] = RANGE
    for panel in document["panels"]:
        for target in panel["targets"]:
            expression = _VARIABLE.sub(lambda m: values.get(m[1], m[0]), target["expr"])
            unit = panel["fieldConfig"]["defaults"]["unit"]
            yield Query(name, panel["title"], expression, target["legendFormat"], unit)


def _document(document: Any, name: str, known: frozenset[str]) -> Iterator[str]:
    errors = list(Draft202012Validator(json.loads(_SCHEMA.read_text())).iter_errors(document))
    yield from (f"{error.json_path}: {error.message[:200]}" for error in errors)
    if errors:
        return
    yield from _layout(document["panels"])
    for variable in sorted(set(_VARIABLE.findall(json.dumps(document["panels"])))):
        if variable not in (*_BUILT_IN, *(row["name"] for row in document["templating"]["list"])):
            yield f"${variable} is no variable of the dashboard"
    for query in queries(document, name):
        found = list(mistakes(query.expression, known))
        found = found or list(_legend(query))
        yield from (f"{query.panel}: {problem}" for problem in found)


def _legend(query: Query) -> Iterator[str]:
    """A label that the expression names is there to show; others were summed away. The name of a
    recorded series begins with those that it keeps.
    """
    asked = asked_by(query.expression)
    levels = (name.partition(":")[0] for name in asked.series if ":" in name)
    kept = {label for level in levels for label in level.split("_")}
    for label in _SHOWN_LABEL.findall(query.legend):
        if label not in asked.labels | kept:
            yield f"shows the label {label}, which the expression does not keep"


def _layout(panels: list[Any]) -> Iterator[str]:
    ids = Counter(panel["id"] for panel in panels)
    yield from (f"panel {number}: is there twice" for number, times in ids.items() if times > 1)
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24:
            yield f"{panel['title']}: is wider than the dashboard"
        columns = range(place["x"], place["x"] + place["w"])
        taken.update((x, place["y"] + row) for x in columns for row in range(place["h"]))
        refs = Counter(target["refId"] for target in panel["targets"])
        yield from (f"{panel['title']}: {ref} is there twice" for ref, n in refs.items() if n > 1)
    if any(times > 1 for times in taken.values()):
        yield "panels lie over each other"
