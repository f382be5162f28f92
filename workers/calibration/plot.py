"""Draws what a calibration chose from: thinking saved against right answers lost."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from workers.calibration.learn import Calibration

_LINEAR_BELOW = 0.01  # shares smaller than this are not worth a logarithm
_SAVED, _RISK, _CHOSEN = "#0b57d0", "#b3261e", "#24292f"


def draw_curve(calibration: Calibration, risk: float, path: Path) -> None:
    """Write the curve as SVG, PNG or PDF, by the ending of `path`."""
    with matplotlib.rc_context({"svg.hashsalt": "ponder", "font.size": 11}):
        figure = Figure(figsize=(7, 4.6), layout="constrained")
        saved, lost = figure.subplots(2, 1, sharex=True)
        _draw_saved(saved, calibration)
        _draw_lost(lost, calibration, risk)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_saved(axes: Axes, calibration: Calibration) -> None:
    confidence = [1 - outcome.rules.confidence for outcome in calibration.curve]
    axes.plot(confidence, [o.gross_saved for o in calibration.curve], ":", color=_SAVED)
    axes.plot(confidence, [o.net_saved for o in calibration.curve], "o-", color=_SAVED)
    axes.set_ylabel("thinking saved\n(dotted: before trials)")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xscale("log")
    _mark_chosen(axes, calibration)


def _draw_lost(axes: Axes, calibration: Calibration, risk: float) -> None:
    confidence = [1 - outcome.rules.confidence for outcome in calibration.curve]
    axes.plot(confidence, [o.losses / o.problems for o in calibration.curve], "o-", color=_RISK)
    axes.plot(confidence, [o.risk_bound for o in calibration.curve], ":", color=_RISK)
    axes.axhline(risk, color=_CHOSEN, linewidth=0.8)
    axes.set_ylabel("right answers lost\n(dotted: upper bound)")
    axes.set_xlabel("confidence that a trial needs")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda doubt, _: f"{1 - doubt:g}"))
    axes.set_yscale("symlog", linthresh=_LINEAR_BELOW)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _mark_chosen(axes, calibration)


def _mark_chosen(axes: Axes, calibration: Calibration) -> None:
    if calibration.chosen is not None:
        axes.axvline(1 - calibration.chosen.rules.confidence, color=_CHOSEN, linewidth=0.8)
    axes.grid(alpha=0.3)
