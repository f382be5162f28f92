"""Draws the facts as SVG to stand within HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from classifier.dataset import Dataset
from classifier.evaluate import Coverage
from classifier.survival import Floats
from classifier.training_report.facts import Effect, Reliability
from ponder.bins import NEED_BIN_EDGES

_MAX_POINTS: Final = 2_000
_OBSERVED, _EXPECTED, _CUT = "#0b57d0", "#9aa0a6", "#d93025"
_SOONER, _LONGER = "#188038", "#d93025"


def draw_reliability(tiers: Mapping[str, Reliability], errors: Mapping[str, float]) -> str:
    """A panel for each tier: observed against predicted P(need > budget)."""
    with _style("reliability"):
        figure = Figure(figsize=(11, 3.1), layout="constrained")
        panels = figure.subplots(1, len(tiers), sharey=True)
        for axes, (name, points) in zip(panels, tiers.items(), strict=True):
            axes.plot([0, 1], [0, 1], color=_EXPECTED, linewidth=1)
            axes.errorbar(
                points.predicted, points.observed, points.half_widths, fmt="o-", color=_OBSERVED
            )
            axes.set_title(f"{name}: ECE {errors[name]:.3f}")
            axes.set_xlabel("predicted")
            axes.set_ylim(-0.03, 1.03)
        panels[0].set_ylabel("observed")
        return _svg(figure)


def draw_coverage(slices: Mapping[str, Coverage]) -> str:
    """A line for each slice: observed coverage with its interval, and what was expected."""
    with _style("coverage"):
        figure = Figure(figsize=(8, 0.6 + 0.28 * len(slices)), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(slices))[::-1]
        found = list(slices.values())
        axes.errorbar(
            [c.observed for c in found],
            rows,
            xerr=[c.half_width for c in found],
            fmt="o",
            color=_OBSERVED,
            label="observed",
        )
        axes.plot(
            [c.expected for c in found], rows, "|", color="black", markersize=12, label="expected"
        )
        axes.set_yticks(rows, [f"{name} ({c.num_rows})" for name, c in slices.items()])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(loc="lower left")
        return _svg(figure)


def draw_spending(median_tokens: Floats, data: Dataset) -> str:
    """Predicted median against thinking tokens spent; at most _MAX_POINTS rows, drawn evenly."""
    chosen = np.random.default_rng(0).permutation(len(data))[:_MAX_POINTS]
    predicted = np.clip(median_tokens[chosen], 1.0, NEED_BIN_EDGES[-1])
    spent = np.maximum(data.thinking_tokens[chosen], 1)
    known = data.need_known[chosen]
    with _style("spending"):
        figure = Figure(figsize=(6, 5), layout="constrained")
        axes = figure.subplots()
        _scatter(axes, predicted[known], spent[known], "o", _OBSERVED, "stopped by itself")
        _scatter(axes, predicted[~known], spent[~known], "^", _CUT, "cut: the need is above")
        axes.plot([1, NEED_BIN_EDGES[-1]], [1, NEED_BIN_EDGES[-1]], color=_EXPECTED, linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel="predicted median", ylabel="thinking tokens")
        axes.legend(loc="upper left")
        return _svg(figure)


def draw_effects(effects: Sequence[Effect]) -> str:
    """Bars, largest on top."""
    with _style("effects"):
        figure = Figure(figsize=(8, 0.6 + 0.24 * len(effects)), layout="constrained")
        axes = figure.subplots()
        logits = [effect.logit for effect in effects][::-1]
        colours = [_SOONER if logit > 0.0 else _LONGER for logit in logits]
        axes.barh([effect.feature for effect in effects][::-1], logits, color=colours)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlabel("thinks longer  <  change of the logit of stopping  >  stops sooner")
        return _svg(figure)


def _scatter(axes: Axes, x: Floats, y: Any, marker: str, color: str, label: str) -> None:
    axes.scatter(x, y, s=16, marker=marker, color=color, alpha=0.5, linewidths=0, label=label)


@contextmanager
def _style(name: str) -> Iterator[None]:
    """Ids differ from figure to figure, as all stand in one document; text stays text."""
    settings: Any = {"svg.hashsalt": f"ponder-{name}", "svg.fonttype": "none", "font.size": 10}
    with matplotlib.rc_context(settings):
        yield


def _svg(figure: Figure) -> str:
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
