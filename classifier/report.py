"""Evaluations for people (Markdown tables, the model card) and for programs (dictionaries)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from classifier.evaluate import Coverage, Evaluation
from classifier.metadata import Metadata
from classifier.survival import COVERAGE, TIER_BUDGETS
from ponder.bins import NEED_BIN_EDGES

_CARD: Final = """\
# The difficulty classifier of `{model}`

Written by `python -m classifier train`; version `{version}`. It predicts from a prompt how many
thinking tokens `{model}` would spend before it stops by itself, as a chance of stopping in
each of {num_bins} bins. {training_rows} requests trained it (C = {regularisation:g}), others chose
C and calibrated it; the graph differs from what was trained by at most {parity:.1e} on the rows
held out.

## Judged on {num_rows} requests it has not seen

{table}

Every column is judged by the same requests. Constant: one curve for all prompts. Length only: the
same model that sees nothing but the number of bytes. Shuffled labels: the same model trained on the
outcomes of other prompts. Brier and calibration error are those of P(need > budget of the tier), on
requests that tell, weighted so that they stand for all. The bound is the first bin edge predicted
to suffice for {coverage:.0%}; as it is an edge, more is expected, and expected and observed should
agree.

## Coverage of the bound by slice

{slices}

## The bins

{bins}
"""

_Row = tuple[str, Callable[[Evaluation], str]]


def comparison_table(evaluations: Mapping[str, Evaluation]) -> str:
    """One column per evaluation, one row per figure."""
    return markdown_table(["", *evaluations], comparison_rows(evaluations))


def comparison_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Name of a figure, then its value in each evaluation."""
    return [[name, *(cell(e) for e in evaluations.values())] for name, cell in _rows()]


def slice_table(evaluation: Evaluation) -> str:
    """Observed and expected coverage of the bound in every slice that has enough rows."""
    rows = slice_rows(evaluation.bound_by_slice)
    return markdown_table(["slice", "requests", "observed", "expected"], rows)


def slice_rows(slices: Mapping[str, Coverage]) -> list[list[str]]:
    """Name of a slice, requests, observed and expected coverage."""
    return [[name, str(c.num_rows), _percent(c), f"{c.expected:.1%}"] for name, c in slices.items()]


def bin_table(metadata: Metadata) -> str:
    """What each bin was learned from."""
    rows = [
        [f"to {edge}", str(fit.at_risk), str(fit.events), "yes" if fit.fitted else "constant"]
        for edge, fit in zip(NEED_BIN_EDGES, metadata.bins, strict=True)
    ]
    return markdown_table(["thinking tokens", "reached it", "stopped in it", "regression"], rows)


def card(
    version: str, metadata: Metadata, evaluations: Mapping[str, Evaluation], parity: float
) -> str:
    """The model card; the first evaluation is that of the classifier."""
    judged = next(iter(evaluations.values()))
    return _CARD.format(
        model=metadata.model,
        version=version,
        num_bins=len(NEED_BIN_EDGES),
        training_rows=metadata.training_rows,
        regularisation=metadata.regularisation,
        parity=parity,
        num_rows=judged.num_rows,
        table=comparison_table(evaluations),
        coverage=COVERAGE,
        slices=slice_table(judged),
        bins=bin_table(metadata),
    )


def to_json(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Plain numbers; what could not be measured is null."""
    return {name: _without_nan(asdict(evaluation)) for name, evaluation in evaluations.items()}


def _rows() -> list[_Row]:
    return [
        ("log-loss (nats)", lambda e: f"{e.log_loss:.3f}"),
        ("Kendall tau of the median", lambda e: f"{e.tau:.3f}"),
        *(_brier_row(tier) for tier in TIER_BUDGETS),
        *(_calibration_row(tier) for tier in TIER_BUDGETS),
        ("bound: observed", lambda e: _percent(e.bound)),
        ("bound: expected", lambda e: f"{e.bound.expected:.1%}"),
        ("bound: none", lambda e: f"{e.unbounded_share:.1%}"),
        ("tier suffices: observed", lambda e: _percent(e.tier)),
        ("tier suffices: expected", lambda e: f"{e.tier.expected:.1%}"),
        *(_share_row(tier) for tier in TIER_BUDGETS),
    ]


def _brier_row(tier: str) -> _Row:
    return f"Brier, {tier}", lambda e: f"{e.brier[tier]:.4f}"


def _calibration_row(tier: str) -> _Row:
    return f"calibration error, {tier}", lambda e: f"{e.calibration_error[tier]:.4f}"


def _share_row(tier: str) -> _Row:
    return f"sent to {tier}", lambda e: f"{e.tier_shares[tier]:.1%}"


def _percent(coverage: Coverage) -> str:
    return f"{coverage.observed:.1%} ± {coverage.half_width:.1%}"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Columns padded to one width."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
