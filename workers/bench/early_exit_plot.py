"""Draws the accuracy that each subject loses against the thinking that it saves, as SVG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from workers.bench.early_exit_figures import BASELINE, PONDER, SubjectFigures

_INK, _FAINT, _GRID = "#24292f", "#8c959f", "#e3e6ea"
_PONDER_COLOUR: Final = "#0b57d0"
_STYLE: Any = {  # matplotlib types the keys as literals
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "ponder",  # the same figures give the same file
}


def draw(subjects: Mapping[str, SubjectFigures], path: Path) -> None:
    """Write an SVG; its directory is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        for name, subject in subjects.items():
            if name != BASELINE:
                _draw_subject(axes, subject)
        _finish_axes(axes, subjects[BASELINE].problems)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_subject(axes: Axes, subject: SubjectFigures) -> None:
    colour = _PONDER_COLOUR if subject.name == PONDER else _FAINT
    net, change = subject.savings.net, subject.accuracy_change
    axes.errorbar(
        net.value,
        change.value,
        xerr=[[net.value - net.low], [net.high - net.value]],
        yerr=[[change.value - change.low], [change.high - change.value]],
        fmt="o",
        color=colour,
        capsize=3,
        elinewidth=1.2,
    )
    axes.annotate(
        subject.name,
        (net.value, change.value),
        xytext=(6, 6),
        textcoords="offset points",
        color=colour if subject.name == PONDER else _INK,
        fontsize=10,
        fontweight="bold" if subject.name == PONDER else "normal",
    )


def _finish_axes(axes: Axes, problems: int) -> None:
    axes.axhline(0, color=_INK, linewidth=0.8, zorder=1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("thinking tokens saved, after trials and forced tokens")
    axes.set_ylabel("change in accuracy, points")
    axes.set_title(
        f"Early exit against thinking to the end ({problems:,} questions)",
        fontsize=12.5,
        fontweight="bold",
        loc="left",
    )
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
