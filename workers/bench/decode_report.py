"""The figures and the table of `ponder bench decode`, from its measurements."""

from collections.abc import Iterable, Sequence
from math import isnan

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ponder.figures import BenchReport
from workers.bench.decode_ceilings import Ceilings
from workers.bench.decode_run import CONTINUOUS, GENERATE, Measurement
from workers.bench.decode_transformers import fast_paths_off

_CONTEXT = 512
"""Figures are those at this context; others are in the table."""


_NUMBERS = ("tokens/s", "ours is", "GB/s", "roofline", "busy", "host us", "TTFT ms")


def decode_report(measured: Sequence[Measurement], ceilings: Ceilings, device: str) -> BenchReport:
    """Figures that were not measured are left out; the controls' own speeds are among them."""
    shortest = min((one.context for one in measured), default=_CONTEXT)
    counted = [one for one in measured if one.context == min(shortest, _CONTEXT)]
    ours = {(one.model, one.batch): one for one in counted if one.is_ours}
    theirs = [one for one in counted if not one.is_ours]
    figures = {**_ratios(ours, theirs, GENERATE), **_ratios(ours, theirs, CONTINUOUS)}
    for one in ours.values():
        figures.update(_own_figures(one))
    return BenchReport(
        name="decode",
        figures=figures,
        controls={
            "copy_gb_per_s": ceilings.copy_bytes_per_s / 1e9,
            "read_gb_per_s": ceilings.read_bytes_per_s / 1e9,
            "matmul_tflop_per_s": ceilings.matmul_flop_per_s / 1e12,
            **{_control_name(one): one.tokens_per_s for one in theirs},
        },
        device=device,
    )


def _ratios(
    ours: dict[tuple[str, int], Measurement], theirs: Iterable[Measurement], kind: str
) -> dict[str, float]:
    """By batch, the worst over the models; a model counts with the fastest of the kind."""
    fastest: dict[tuple[str, int], float] = {}
    for one in theirs:
        if one.subject.startswith(kind):
            key = one.model, one.batch
            fastest[key] = max(one.speed, fastest.get(key, 0.0))
    ratios: dict[str, float] = {}
    for (model, batch), speed in fastest.items():
        name = f"ratio_{kind.split()[0]}_b{batch}"
        ratio = ours[model, batch].speed / speed
        ratios[name] = min(ratio, ratios.get(name, ratio))
    return ratios


def _own_figures(one: Measurement) -> dict[str, float]:
    key = f"{one.model}_b{one.batch}"
    figures = {
        f"tokens_per_s_{key}": one.tokens_per_s,
        f"gb_per_s_{key}": one.gb_per_s,
        f"roofline_{key}": one.roofline,
        f"busy_share_{key}": one.busy_share,
        f"host_us_{key}": one.host_us or 0.0,
    }
    if one.batch == 1:
        figures[f"ttft_ms_{one.model}"] = 1e3 * one.first_token_s
    if key == "8b_b64":
        figures["host_us_b64"] = one.host_us or 0.0
    return figures


def _control_name(one: Measurement) -> str:
    subject = one.subject.replace(" ", "_")
    return f"tokens_per_s_{subject}_{one.model}_b{one.batch}"


def decode_table(
    report: BenchReport, measured: Sequence[Measurement], device: torch.device
) -> Table:
    """All measurements, then the ratios."""
    title = f"Decoding on {report.device}"
    table = Table(title=title, caption=_caption(report, device), box=SIMPLE_HEAD)
    for column in ("model", "batch", "decoder"):
        table.add_column(column, no_wrap=True)
    for column in _NUMBERS:
        table.add_column(column, justify="right", no_wrap=True)
    ours = {(o.model, o.batch, o.context): o for o in measured if o.is_ours}
    for one in measured:
        table.add_row(*_cells(one, ours[one.model, one.batch, one.context]))
    return table


def _cells(one: Measurement, ours: Measurement) -> tuple[str, ...]:
    return (
        f"{one.model} @{one.context}",
        str(one.batch),
        one.subject,
        f"{one.tokens_per_s:,.0f}",
        "" if one.is_ours else f"{ours.speed / one.speed:.2f}x",
        f"{one.gb_per_s:.1f}",
        f"{one.roofline:.2f}",
        "" if isnan(one.busy_share) else f"{one.busy_share:.2f}",
        "" if one.host_us is None else f"{one.host_us:.0f}",
        f"{1e3 * one.first_token_s:.1f}",
    )


def _caption(report: BenchReport, device: torch.device) -> str:
    limits = report.controls
    ratios = {name: f for name, f in report.figures.items() if name.startswith("ratio_")}
    return (
        f"copy {limits['copy_gb_per_s']:.1f} GB/s, read {limits['read_gb_per_s']:.1f} GB/s, "
        f"matmul {limits['matmul_tflop_per_s']:.3f} TFLOP/s; {fast_paths_off(device)}. "
        f"Worst over the models: " + ", ".join(f"{name} {f:.2f}" for name, f in ratios.items())
    )
