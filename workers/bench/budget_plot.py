"""Draws accuracy against mean tokens: Ponder between fixed budgets and the oracle, as SVG."""

from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from workers.bench.budget_curves import Curve, point
from workers.bench.budget_figures import Curves, Measured

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


def draw(measured: Measured, path: Path) -> None:
    """Write an SVG; its directory is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    curves = Curves.of(measured, measured.all_rows)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        _line(axes, curves.oracle_with_exit, "oracle that knows every need, with exits", "dotted")
        _line(axes, curves.fixed_with_exit, "best fixed budget, with exits", "dashed")
        _line(axes, curves.fixed, "best fixed budget", "solid")
        _draw_ponder(axes, measured)
        _finish(axes, measured.num_questions)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _line(axes: Axes, curve: Curve, label: str, style: str) -> None:
    axes.plot(curve.tokens, curve.accuracy, color=_FAINT, linestyle=style, label=label)


def _draw_ponder(axes: Axes, measured: Measured) -> None:
    points = [
        point(measured.exit, budgets, measured.all_rows) for budgets in measured.budgets.values()
    ]
    tokens, accuracy = [p.tokens for p in points], [p.accuracy for p in points]
    axes.plot(tokens, accuracy, "o-", color=_PONDER_COLOUR, label="Ponder, by worth of an answer")
    axes.plot(
        measured.served_spent.mean(),
        measured.served_right.mean(),
        "*",
        color=_PONDER_COLOUR,
        markersize=14,
        label="Ponder, served at the defaults",
    )


def _finish(axes: Axes, num_questions: int) -> None:
    axes.set_ylim(0.5, 1.005)
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("mean tokens of a question: thinking, trials, forced")
    axes.set_ylabel("right answers")
    axes.legend(loc="lower right", frameon=False)
    axes.set_title(
        f"What deciding how long to think is worth ({num_questions:,} questions)",
        fontsize=12.5,
        fontweight="bold",
        loc="left",
    )
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
