"""What an expression of PromQL asks for, held against what the programs tell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import promql_parser as promql

# kube-state-metrics has them, if it runs.
OTHERS: Final = frozenset({"kube_cronjob_status_last_successful_time"})
LABELS: Final = frozenset(
    (
        *("tier", "shadow_tier", "pool", "state", "stop", "rule", "kind", "part", "status", "by"),
        *("tenant", "model", "classifier", "role", "gen_ai_request_model", "gen_ai_token_type"),
        *("le", "job", "instance", "namespace", "cronjob"),
    )
)
"""The attributes that router and workers record, those of the collector, of kube-state-metrics."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Names of series and of labels."""

    series: frozenset[str]
    labels: frozenset[str]


def asked_by(expression: str) -> Asked:
    """Raises ValueError for what is no PromQL."""
    series: set[str] = set()
    labels: set[str] = set()

    def note(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            series.add(node.name or "")
            labels.update(matcher.name for matcher in node.matchers.matchers)
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier:
            labels.update(_matched(node.modifier))

    promql.walk(promql.parse(expression), note)
    return Asked(frozenset(series), frozenset(labels))


def mistakes(expression: str, known: frozenset[str]) -> Iterator[str]:
    """`known` are the series there are beside OTHERS."""
    try:
        asked = asked_by(expression)
    except ValueError as error:
        yield f"is no PromQL: {error}"
        return
    yield from (f"nothing tells {name}" for name in sorted(asked.series - known - OTHERS))
    yield from (f"nothing has the label {name}" for name in sorted(asked.labels - LABELS))


def _matched(modifier: Any) -> Iterator[str]:
    if modifier.matching:
        yield from modifier.matching.labels
    yield from modifier.group_labels or ()
