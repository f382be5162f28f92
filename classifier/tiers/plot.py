"""Draws where needs gather, and where the budgets stand."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from classifier.kaplan_meier import KaplanMeier
from classifier.tiers.density import NeedDensity
from classifier.tiers.proposal import Plan, Proposal

_NEED, _PROPOSED, _DEFAULT = "#24292f", "#0b57d0", "#9aa0a6"


def draw_proposal(proposal: Proposal, curve: KaplanMeier, density: NeedDensity, path: Path) -> None:
    """Write density and coverage as SVG, PNG or PDF, by the ending of `path`."""
    with matplotlib.rc_context({"svg.hashsalt": "ponder", "font.size": 11}):
        figure = Figure(figsize=(7, 4.6), layout="constrained")
        gathered, covered = figure.subplots(2, 1, sharex=True)
        gathered.fill_between(density.tokens, density.density, color=_NEED, alpha=0.2)
        gathered.set_ylabel("density of ln need")
        covered.step(curve.needs, curve.masses.cumsum(), where="post", color=_NEED)
        covered.set_ylabel("needs covered")
        covered.yaxis.set_major_formatter(PercentFormatter(1.0))
        covered.set_xlabel("thinking tokens")
        covered.set_xscale("log")
        for axes in (gathered, covered):
            _mark(axes, proposal.default, _DEFAULT, "default")
            _mark(axes, proposal.proposed, _PROPOSED, "proposed")
        gathered.legend()
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _mark(axes: Axes, plan: Plan, color: str, label: str) -> None:
    for number, budget in enumerate(plan.budgets):
        axes.axvline(budget, color=color, label=None if number else label)
