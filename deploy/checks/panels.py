"""Draws the panels of the dashboards from a Prometheus: lines, not as Grafana would draw them."""

import re
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.checks.answers import ask
from deploy.checks.dashboards import Query

_COLUMNS = 4
_POINTS = 48
_LABEL = re.compile(r"\{\{(\w+)\}\}")


def draw(url: str, asked: Sequence[Query], path: Path, span_s: float) -> None:
    """The last `span_s` seconds of every panel, as SVG. Raises PrometheusError."""
    panels = [
        (place, list(group))
        for place, group in groupby(asked, lambda query: query.place)
        if not place.startswith("rules.yaml")
    ]
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(5.2 * _COLUMNS, 2.7 * rows), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for axis, (place, group) in zip(axes, panels, strict=False):
        _panel(axis, url, place, group, span_s)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    # Text stays text: a tenth of the size that letters drawn as curves take.
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(path)


def _panel(axis: Axes, url: str, place: str, group: Sequence[Query], span_s: float) -> None:
    now_s = time.time()
    window = {"start": now_s - span_s, "end": now_s, "step": span_s / _POINTS}
    for query in group:
        for series in ask(url, "query_range", query=query.expression, **window):
            points = [(float(at_s), float(value)) for at_s, value in series["values"]]
            minutes = [(at_s - now_s) / 60 for at_s, _ in points]
            axis.plot(
                minutes, [value for _, value in points], label=_legend(query, series["metric"])
            )
    axis.set_title(place.replace(".json: ", ": "), fontsize=8)
    axis.set_ylabel(group[0].unit, fontsize=6)
    axis.tick_params(labelsize=6)
    axis.locator_params(nbins=4)
    if axis.lines:
        axis.set_xlabel("minutes", fontsize=6)
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.legend(fontsize=5, ncols=2, frameon=False)
    else:
        axis.text(0.5, 0.5, "no data", ha="center", transform=axis.transAxes, fontsize=8)


def _legend(query: Query, labels: dict[str, Any]) -> str:
    filled = _LABEL.sub(lambda m: str(labels.get(m[1], "")), query.legend)
    return filled.strip() or query.panel
