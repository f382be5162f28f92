"""Draws accuracy against thinking budget, from an evaluation, as SVG and PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from workers.training.evaluate import MIX_SIZES
from workers.training.evaluation import Estimate, Evaluation
from workers.training.evaluator import TIER_BUDGETS

PUBLISHED_BUDGETS = (50, 200, 500, 1000, 2000, 5000, 10_000)
PUBLISHED: Mapping[str, Sequence[float]] = {
    "o1 on MATH": (58.2, 65.4, 72.1, 78.0, 83.3, 88.1, 91.2),
    "o1 on coding": (70.2, 74.8, 78.5, 82.3, 85.1, 88.4, 89.8),
}
"""Percent right by thinking tokens: published estimates of OpenAI o1, not our measurements."""

_INK, _FAINT, _GRID = "#24292f", "#8c959f", "#e3e6ea"
_MIX_COLOUR = "#0b57d0"
_SIZE_COLOURS = {4: "#7cb5f5", 5: "#a58be0", 6: "#e08bb4"}
_STYLE: Any = {  # matplotlib types the keys as literals
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "ponder",  # the same figures give the same file
}


def draw(evaluation: Evaluation, directory: Path) -> list[Path]:
    """Write `thinking.svg` and `thinking.png` into a directory, which is made if need be."""
    return [draw_svg(evaluation, directory), draw_png(evaluation, directory)]


def draw_svg(evaluation: Evaluation, directory: Path) -> Path:
    """Write `thinking.svg`; the same evaluation gives the same file."""
    return _save(evaluation, directory / "thinking.svg", metadata={"Date": None})


def draw_png(evaluation: Evaluation, directory: Path) -> Path:
    """Write `thinking.png`."""
    return _save(evaluation, directory / "thinking.png", dpi=200)


def _save(evaluation: Evaluation, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8, 5.6), layout="constrained", facecolor="white")
        _draw_axes(figure.add_subplot(), evaluation)
        figure.legend(loc="outside lower center", ncols=2, fontsize=9.5, frameon=False)
        figure.savefig(path, **options)
    return path


def _draw_axes(axes: Axes, evaluation: Evaluation) -> None:
    """In the order of the legend; what matters more is drawn above the rest."""
    _draw_mix(axes, evaluation.mix.accuracy)
    _draw_oracle(axes, evaluation.mix.oracle)
    for size in MIX_SIZES:
        _draw_size(axes, size, evaluation.families[f"countdown-{size}"].accuracy)
    _draw_published(axes)
    _finish_axes(axes, evaluation.mix.problems)


def _draw_published(axes: Axes) -> None:
    for (name, percent), marker in zip(PUBLISHED.items(), "s^", strict=True):
        axes.plot(
            PUBLISHED_BUDGETS,
            [value / 100 for value in percent],
            marker=marker,
            markersize=4.5,
            markerfacecolor="white",
            color=_FAINT,
            linewidth=0.8,
            linestyle=":",
            label=f"for shape: {name} (published estimate)",
            zorder=1,
        )


def _draw_size(axes: Axes, size: int, accuracy: Mapping[int, Estimate]) -> None:
    budgets, values = _points(accuracy)
    colour = _SIZE_COLOURS[size]
    axes.plot(budgets, values, color=colour, linewidth=1.4, label=f"{size} numbers", zorder=2)


def _draw_oracle(axes: Axes, oracle: Mapping[int, Estimate]) -> None:
    budgets, values = _points(oracle)
    axes.plot(
        budgets,
        values,
        color=_INK,
        linewidth=1.4,
        linestyle=(0, (5, 3)),
        label="the same mix, oracle: faultless random search",
        zorder=3,
    )


def _draw_mix(axes: Axes, accuracy: Mapping[int, Estimate]) -> None:
    """The line through every budget, its 95 % band, and bars at the tiers."""
    budgets, values = _points(accuracy)
    low, high = ([getattr(accuracy[b], side) for b in budgets] for side in ("low", "high"))
    axes.fill_between(budgets, low, high, color=_MIX_COLOUR, alpha=0.13, linewidth=0, zorder=4)
    name = "mix of 4, 5 and 6 numbers, 95 % interval"
    axes.plot(budgets, values, color=_MIX_COLOUR, linewidth=2.8, label=name, zorder=5)
    tiers = [accuracy[budget] for budget in TIER_BUDGETS]
    _draw_bars(axes, tiers)
    for budget, tier in zip(TIER_BUDGETS, tiers, strict=True):
        _write_value(axes, budget, tier)


def _draw_bars(axes: Axes, tiers: Sequence[Estimate]) -> None:
    axes.errorbar(
        TIER_BUDGETS,
        [tier.value for tier in tiers],
        yerr=[[t.value - t.low for t in tiers], [t.high - t.value for t in tiers]],
        fmt="o",
        color=_MIX_COLOUR,
        markersize=7,
        capsize=4,
        elinewidth=1.6,
        zorder=6,
    )


def _write_value(axes: Axes, budget: int, tier: Estimate) -> None:
    axes.annotate(
        f"{tier.value:.0%}",
        (budget, tier.low),
        xytext=(0, -8),
        textcoords="offset points",
        ha="center",
        va="top",
        color=_MIX_COLOUR,
        fontweight="bold",
        path_effects=[withStroke(linewidth=3, foreground="white")],
        zorder=7,
    )


def _points(estimates: Mapping[int, Estimate]) -> tuple[list[int], list[float]]:
    """Budgets that a logarithmic axis can show, and their values."""
    budgets = [budget for budget in estimates if budget > 0]
    return budgets, [estimates[budget].value for budget in budgets]


def _finish_axes(axes: Axes, problems: int) -> None:
    axes.set_xscale("log")
    axes.set_xlim(42, 13_000)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(PUBLISHED_BUDGETS, [f"{budget:,}" for budget in PUBLISHED_BUDGETS])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("thinking budget, tokens")
    axes.set_title(
        f"Countdown problems solved by thinking budget ({problems:,} problems)",
        fontsize=12.5,
        fontweight="bold",
        pad=12,
        loc="left",
    )
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
