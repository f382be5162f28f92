"""Draws the easy requests' p99 slowdown against the load, as SVG."""

from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workers.bench.blocking.figures import LOADS, Results, mean_result

_INK, _FAINT, _GRID = "#24292f", "#8c959f", "#e3e6ea"
_STYLE: Any = {  # matplotlib types the keys as literals
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "ponder",  # the same figures give the same file
}
_LINES: Final = {
    "fcfs": ("one queue", _FAINT, "solid"),
    "split_classifier": ("two pools by the classifier", _FAINT, "dashed"),
    "split_perfect": ("two pools, never wrong", _FAINT, "dashdot"),
    "srpt": ("oracle: shortest remaining first", _FAINT, "dotted"),
    "ponder": ("Ponder", "#0b57d0", "solid"),
    "ponder_uncapped": ("Ponder, no cap in the easy pool", "#0b57d0", "dashed"),
}


def draw(results: Results, path: Path) -> None:
    """Write an SVG; its directory is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        scenarios = {0.85: "real", **{load: f"real_load_{load:g}" for load in LOADS}}
        for policy, (label, colour, style) in _LINES.items():
            points = [
                (load, mean_result(results[name, policy]).easy_p99_slowdown)
                for load, name in sorted(scenarios.items())
                if (name, policy) in results
            ]
            loads, slowdowns = zip(*points, strict=True)
            axes.plot(loads, slowdowns, "o", ls=style, color=colour, label=label, markersize=4)
        _finish(axes)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _finish(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_xlabel("load: work that arrives, as a share of capacity")
    axes.set_ylabel("p99 slowdown of easy requests")
    axes.legend(loc="upper left", frameon=False)
    axes.set_title(
        "Does an easy request wait for a hard one? (16 slots, simulated)",
        fontsize=12.5,
        fontweight="bold",
        loc="left",
    )
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
