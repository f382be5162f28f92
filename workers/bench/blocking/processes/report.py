"""The figures of real processes by the report's names, and their table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from rich.table import Table

from workers.bench.blocking.processes.course import Course
from workers.bench.blocking.processes.figures import Served, counts, offered_load, ratios, slowdowns
from workers.bench.blocking.processes.stacks import ONE_QUEUE, PONDER

_PREFIX = "processes_"

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Report:
    """As BenchReport has them; `table` is for people."""

    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    controls: Mapping[str, float]
    table: Table

    @classmethod
    def of(cls, course: Course) -> Self:
        """Both subjects of one course."""
        by_subject = {name: _found(course, name) for name in (PONDER, ONE_QUEUE)}
        compared = ratios(course)
        over = {f"{name}_over_{ONE_QUEUE}": found for name, found in compared.items()}
        return cls(
            figures=_named(
                _PREFIX,
                {**by_subject[PONDER], **{name: ratio for name, (ratio, _, _) in over.items()}},
            ),
            intervals=_named(_PREFIX, {name: (low, high) for name, (_, low, high) in over.items()}),
            controls={
                **_named(f"{_PREFIX}{ONE_QUEUE}_", by_subject[ONE_QUEUE]),
                f"{_PREFIX}load": offered_load(course),
                f"{_PREFIX}capacity_tokens_per_s": float(
                    np.mean([round_.capacity_tokens_per_s for round_ in course.rounds])
                ),
            },
            table=_table(course, by_subject, compared),
        )


def _found(course: Course, subject: str) -> dict[str, float]:
    served = Served.of(course, subject)
    return {**slowdowns(served), **counts(served)}


def _named(prefix: str, values: Mapping[str, V]) -> dict[str, V]:
    return {prefix + name: value for name, value in values.items()}


def _table(
    course: Course,
    by_subject: Mapping[str, Mapping[str, float]],
    compared: Mapping[str, tuple[float, float, float]],
) -> Table:
    table = Table(title=f"Real processes, load {offered_load(course):.2f}")
    for column in ("figure", "Ponder", "one queue", "Ponder's by the queue's, 95 %"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, ours in by_subject[PONDER].items():
        ratio = compared.get(name)
        said = "" if ratio is None else "{:.3g} [{:.3g}, {:.3g}]".format(*ratio)
        table.add_row(
            name.replace("_", " "), f"{ours:.3g}", f"{by_subject[ONE_QUEUE][name]:.3g}", said
        )
    return table
