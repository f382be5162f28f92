"""What `ponder bench cycle` prints: phases, steps, and the estimate beside what happened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from ponder.figures import BenchReport
from workers.bench.cycle_course import Cycle
from workers.bench.cycle_figures import Mean, Phase

_NUM_WORSE = 2


def broken(cycle: Cycle, *, is_judged: bool) -> list[str]:
    """What must not be. `is_judged`: there were enough requests for drift and gate to tell."""
    health = cycle.health
    told = {
        f"{health.failed} requests failed: {dict(health.reasons)}": health.failed > 0,
        f"{health.degraded} decisions were degraded: {dict(health.reasons)}": health.degraded > 0,
        "a worse classifier was promoted": cycle.worse_promotions_refused < _NUM_WORSE,
        "the new champion was rolled back": cycle.rollbacks > 0,
    }
    judged = {
        "drift was seen where there is none": cycle.drift["usual"]["verdict"] == "alarm",
        "drift was not seen": cycle.drift["shifted"]["verdict"] != "alarm",
        f"the gate refused the new classifier: {_refusals(cycle.gates['new'])}": cycle.forced,
    }
    return [what for what, holds in (told | (judged if is_judged else {})).items() if holds]


def tables(cycle: Cycle) -> Iterator[Table]:
    """In the order of the course."""
    yield _phase_table(cycle)
    yield _step_table(cycle)
    yield _estimate_table(cycle)


def bench_report(cycle: Cycle) -> BenchReport:
    """Every figure by name."""
    figures: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name, phase in cycle.phases.items():
        of_phase, own_intervals = _phase_figures(phase)
        figures |= {f"{name}/{key}": value for key, value in of_phase.items()}
        intervals |= {f"{name}/{key}": value for key, value in own_intervals.items()}
    for name, mean in _means(cycle).items():
        figures[f"new less old/{name}"], intervals[f"new less old/{name}"] = (
            mean.value,
            mean.interval,
        )
    for name, gate in cycle.gates.items():
        figures[f"gate, {name}/passed"] = float(gate["passed"])
        figures[f"gate, {name}/rows"] = gate["num_rows"]
        for key, estimate in _estimates(gate).items():
            figures[f"gate, {name}/{key}"] = estimate.value
            intervals[f"gate, {name}/{key}"] = estimate.interval
    figures |= _counts(cycle)
    controls = {f"alarm, {n}": float(d["verdict"] == "alarm") for n, d in cycle.drift.items()}
    return BenchReport(name="cycle", figures=figures, intervals=intervals, controls=controls)


def _counts(cycle: Cycle) -> dict[str, float]:
    health = cycle.health
    return {
        "asked": health.asked,
        "failed": health.failed,
        "degraded": health.degraded,
        "pairs": cycle.versus.pairs,
        "same_need": cycle.versus.same_need.value,
        "forced": float(cycle.forced),
        "worse_promotions_refused": cycle.worse_promotions_refused,
        "rollbacks": cycle.rollbacks,
        "traces_repeated": cycle.num_repeats,
        "shadow_compared": cycle.shadow["compared"] if cycle.shadow else 0,
    }


def _phase_figures(phase: Phase) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    figures = {
        "requests": float(phase.requests),
        "chosen": float(phase.covered.count),
        "covered": phase.covered.value,
        "promised": phase.promised,
        "escalations": phase.escalations,
        "first_budget_tokens": phase.first_budget_tokens,
        "thinking_tokens": phase.thinking_tokens,
        "log_loss": phase.log_loss.value,
    }
    return figures, {"covered": phase.covered.interval, "log_loss": phase.log_loss.interval}


def _phase_table(cycle: Cycle) -> Table:
    health = cycle.health
    caption = (
        f"{health.asked} requests in all, {health.failed} failed, {health.degraded} degraded, "
        f"{cycle.rollbacks} rollbacks. Chosen: first budgets by the prediction alone, neither "
        "explored nor lowered by the deadline; covered: those that sufficed. Log-loss: of the "
        "need, by the classifier's own curve."
    )
    if cycle.num_repeats > 1:
        caption += f" Training read each trace {cycle.num_repeats} times: too few to learn from."
    table = Table(title="Traffic", caption=caption)
    table.add_column("phase", no_wrap=True)
    for column in ("requests", "chosen", "covered", "promised"):
        table.add_column(column, justify="right")
    for column in ("escalations", "first budget", "thinking", "log-loss"):
        table.add_column(column, justify="right")
    for name, phase in cycle.phases.items():
        table.add_row(
            name,
            str(phase.requests),
            str(phase.covered.count),
            str(phase.covered),
            f"{phase.promised:.3f}",
            f"{phase.escalations:.3f}",
            f"{phase.first_budget_tokens:.0f}",
            f"{phase.thinking_tokens:.0f}",
            f"{phase.log_loss.value:.3f}",
        )
    return table


def _step_table(cycle: Cycle) -> Table:
    table = Table(title="Steps")
    for column in ("step", "verdict", "why"):
        table.add_column(column)
    for name, drift in cycle.drift.items():
        table.add_row(f"drift, {name} traffic", drift["verdict"], _drift_words(drift))
    for name, gate in cycle.gates.items():
        verdict = "passed" if gate["passed"] else "refused"
        rows = f"{gate['num_rows']} held-out requests"
        table.add_row(f"gate, {name}", verdict, _refusals(gate) or rows)
    shadow = cycle.shadow
    agreed = f"{shadow['agreed']} of {shadow['compared']} tiers agree" if shadow else "not compared"
    table.add_row("shadow", "", agreed)
    table.add_row("promote, new", "forced" if cycle.forced else "promoted", "")
    refused = f"{cycle.worse_promotions_refused} of {_NUM_WORSE} refused"
    table.add_row("promote, old and shuffled", refused, "without --force")
    return table


def _estimate_table(cycle: Cycle) -> Table:
    versus = cycle.versus
    table = Table(
        title="New less old: what the gate estimated, and what the same questions then showed",
        caption=f"{versus.pairs} questions, each asked under both ({versus.same_need.value:.1%} "
        "thought the same). Value: in escalations per request, a tier costs 0.1. Own curves: what "
        "the gate estimates. Served: with what the router had learned online of either.",
    )
    for column in ("figure", "gate, from logs", "live"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    estimates = _estimates(cycle.gates["new"])
    rows = {
        "value of the decisions, own curves": "value",
        "log-loss": "log_loss",
    }
    live = _means(cycle)
    for name, mean in live.items():
        estimate = estimates.get(rows.get(name, ""))
        table.add_row(name, str(estimate) if estimate else "", str(mean))
    return table


def _means(cycle: Cycle) -> dict[str, Mean]:
    versus = cycle.versus
    return {
        "value of the decisions, own curves": versus.value_of_curves,
        "value of the decisions, served": versus.value_served,
        "log-loss": versus.log_loss,
        "covered": versus.covered,
        "escalations": versus.escalations,
        "thinking tokens": versus.thinking_tokens,
    }


def _estimates(gate: Mapping[str, Any]) -> dict[str, Mean]:
    """Candidate less champion, where the gate came so far."""
    names = {"value": "value", "sharpness": "log_loss"}
    figures = {c["name"]: c["figures"] for c in gate["checks"] if c["verdict"] != "not judged"}
    return {
        key: Mean(*(_number(figures[check].get(part)) for part in ("difference", "low", "high")))
        for check, key in names.items()
        if check in figures
    }


def _number(value: float | None) -> float:
    """The gate writes null for what is no number."""
    return math.nan if value is None else value


def _refusals(gate: Mapping[str, Any]) -> str:
    refused = [check for check in gate["checks"] if check["verdict"] == "refused"]
    return "; ".join(f"{check['name']}: {check['remedy']}" for check in refused)


def _drift_words(drift: Mapping[str, Any]) -> str:
    found = [one for one in drift["findings"] if one["verdict"] not in ("ok", "too few")]
    return (
        "; ".join(f"{one['name']} {_number(one['value']):.3f}" for one in found) or drift["advice"]
    )
