"""`ponder tiers suggest`: four budgets for a model, from what its requests needed."""

import sys
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from classifier.errors import DatasetError
from classifier.readers import models_in
from classifier.tiers.density import NeedDensity
from classifier.tiers.proposal import Plan, Proposal, configuration, propose
from classifier.tiers.spending import Spending, file_rows, ledger_rows, length_rows
from ponder.bins import NEED_BIN_EDGES
from ponder.cli.output import print_json
from ponder.cli.traces import redis_option, run_with_ledger

_PIPE_WIDTH = 120

_EPILOG = """\b
Examples:
  ponder tiers suggest --model ponder-reference               from the ledger
  ponder tiers suggest --traces traces.jsonl --plot tiers.svg
  ponder tiers suggest --lengths lengths.csv --column thinking_tokens --json

The thinking of requests that a budget or a deadline cut counts as far as it went (Kaplan-Meier,
among requests with the same prediction). Budgets stand where few needs are just above them, and
reserve as little as can be.
"""


@click.group(epilog=_EPILOG.replace("\nThe", "\n\b\nThe"))
def tiers() -> None:
    """Choose the thinking budgets of the four tiers.

    Each subcommand prints a table, or with --json one document.
    """


@tiers.command(epilog=_EPILOG)
@redis_option
@click.option(
    "--traces",
    type=click.Path(exists=True, path_type=Path),
    help="JSON lines, or what `ponder traces export` wrote, instead of the ledger.",
)
@click.option("--model", help="Of this model; needed with the ledger.  [default: the only one]")
@click.option(
    "--lengths",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="CSV",
    help="Thinking lengths that nothing cut, instead of traces.",
)
@click.option("--column", metavar="NAME", help="The column of --lengths.")
@click.option(
    "--coverage",
    default=0.99,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of needs that the largest budget covers.",
)
@click.option(
    "--bin-edges",
    "at_edges",
    is_flag=True,
    help="Only edges of the bins of the need. Between them the router interpolates its prediction, "
    "and learns nothing from what stops in the bin of a budget.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw needs and budgets: .svg, .png. Needs the extra train.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def suggest(
    redis_url: str | None,
    traces: Path | None,
    model: str | None,
    lengths: Path | None,
    column: str | None,
    coverage: float,
    at_edges: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Propose four budgets, with what each would cost and cover.

    Beside them the default ones. The line for the router sets them for this model alone; join the
    lines of several models with semicolons. Workers refuse budgets above what they are set to.
    """
    if (lengths is None) != (column is None) or (lengths and traces):
        raise click.UsageError("give --lengths with --column, and not with --traces")
    try:
        if traces is not None and model is None:
            model = _only_model(traces)
        spending = _spending(redis_url, traces, model, lengths, column)
        proposal = propose(spending, coverage, at_edges=at_edges, model=model)
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json(proposal.as_dict())
    else:
        _print(proposal)
    if plot is not None:
        _draw(proposal, spending, plot)


def _spending(
    redis_url: str | None,
    traces: Path | None,
    model: str | None,
    lengths: Path | None,
    column: str | None,
) -> Spending:
    """Raises DatasetError."""
    if lengths is not None and column is not None:
        return Spending.of(length_rows(lengths, column))
    if model is None:
        raise click.UsageError("whose traces: give --model")
    if traces is not None:
        return Spending.of(file_rows(traces, model))
    rows = run_with_ledger(redis_url, lambda ledger: ledger_rows(ledger, model))
    if not rows:
        raise DatasetError(f"no traces of {model} in the ledger: check the name")
    return Spending.of(rows)


def _only_model(path: Path) -> str:
    models = models_in([path])
    if len(models) != 1:
        raise DatasetError(f"the traces are of models {models}: choose one with --model")
    return models[0]


def _print(proposal: Proposal) -> None:
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    modes = ", ".join(map(str, proposal.modes))
    console.print(
        f"{proposal.num_requests} requests, the need of {proposal.num_known} is known; "
        f"needs gather at {modes} thinking tokens"
    )
    console.print(_table("proposed", proposal.proposed))
    console.print(_table("default", proposal.default))
    for warning in _warnings(proposal):
        console.print(warning)
    for process, line in configuration(proposal.proposed.budgets, proposal.model).items():
        click.echo(f"{line}  # {process}")


def _table(title: str, plan: Plan) -> Table:
    caption = (
        f"mean thinking {plan.mean_tokens:.0f} tokens, mean budget {plan.mean_budget_tokens:.0f}"
    )
    table = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("tier")
    for column in ("budget", "requests", "covers", "mean thinking", "just short"):
        table.add_column(column, justify="right")
    for tier in plan.tiers:
        mean = "-" if tier.mean_tokens is None else f"{tier.mean_tokens:.0f}"
        shares = (f"{share:.1%}" for share in (tier.share, tier.covers))
        table.add_row(tier.tier, f"{tier.budget_tokens}", *shares, mean, f"{tier.just_short:.1%}")
    return table


def _warnings(proposal: Proposal) -> list[str]:
    warnings = []
    largest = proposal.proposed.budgets[-1]
    if between := [b for b in proposal.proposed.budgets[:-1] if b not in NEED_BIN_EDGES]:
        warnings.append(
            f"{', '.join(map(str, between))}: no edges of the bins of the need; see --bin-edges"
        )
    if proposal.unknown_share:
        warnings.append(
            f"{proposal.unknown_share:.2%} of the needs are above all that was seen; a larger "
            "budget would tell how far"
        )
    if largest > NEED_BIN_EDGES[-1]:
        warnings.append(
            f"predictions end at {NEED_BIN_EDGES[-1]} tokens: to the router, {largest} covers no "
            f"more than that. WORKER_MAX_MODEL_LEN must hold prompt, {largest} and answer"
        )
    return warnings


def _draw(proposal: Proposal, spending: Spending, path: Path) -> None:
    try:
        # Of the extra train: the command itself does without.
        from classifier.tiers.plot import draw_proposal
    except ImportError as error:
        raise click.ClickException(f"--plot: {error}; install the extra train") from error
    curve = spending.curve()
    density = NeedDensity.of(curve, spending.num_known)
    try:
        draw_proposal(proposal, curve, density, path)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"--plot {path}: {error}") from error
