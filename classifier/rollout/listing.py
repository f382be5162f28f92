"""`ponder classifier list` and `show`: what there is, what it does, how it does."""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from classifier.errors import ClassifierError
from classifier.metadata import BinFit, Metadata
from classifier.predictor import DifficultyClassifier
from classifier.report import bin_table
from classifier.rollout.desk import Desk, at_desk, desk_options, in_words
from ponder.cli.output import print_json
from ponder.cli.words import tier_word
from ponder.rollout import Change
from ponder.shadow import TIERS, ShadowTally

_PIPE_WIDTH = 140


@click.command(name="list")
@desk_options
def list_versions(redis_url: str | None, model: str | None, as_json: bool) -> None:
    """List the versions in the store, newest first.

    decided, missed, expected: first budgets of the last day that its predictions alone chose, how
    many of them did not suffice, and how many were predicted not to.
    """
    document = at_desk(redis_url, model, _listed)
    if as_json:
        print_json(document)
        return
    console = _console()
    click.echo(f"{document['model']}: {document['serving']}")
    console.print(_version_table(document["versions"]))


@click.command()
@desk_options
@click.argument("version", required=False)
def show(redis_url: str | None, model: str | None, as_json: bool, version: str | None) -> None:
    """Show VERSION: what it learned from, the gate's verdict, how it compared as a shadow.

    Without VERSION: who decides, the comparison of the shadow, and what changed when.
    """

    async def look(desk: Desk) -> dict[str, Any]:
        return await (_rollout_shown(desk) if version is None else _version_shown(desk, version))

    document = at_desk(redis_url, model, look)
    if as_json:
        print_json(document)
    else:
        _print(document)


async def _listed(desk: Desk) -> dict[str, Any]:
    return {
        "model": desk.model,
        "serving": in_words(desk.rollout),
        "rollout": asdict(desk.rollout),
        "versions": [await _version_row(desk, version) for version in desk.versions],
    }


async def _version_row(desk: Desk, version: str) -> dict[str, Any]:
    record = desk.versions[version]
    total = (await desk.ledger.read_outcomes(desk.model, version, time.time())).total
    return {
        "version": version,
        "stage": desk.rollout.stage(version),
        "added_at_s": record.added_at_s,
        "added_by": record.added_by,
        "training_rows": record.training_rows,
        "gate": None if record.gate is None else record.has_passed,
        "decided": total.decided,
        "missed": total.missed,
        "expected": total.expected,
    }


async def _rollout_shown(desk: Desk) -> dict[str, Any]:
    history = await desk.store.history(desk.model)
    return {
        "model": desk.model,
        "serving": in_words(desk.rollout),
        "rollout": asdict(desk.rollout),
        "shadow": await _shadow(desk, desk.rollout.shadow),
        "history": [asdict(change) for change in history],
    }


async def _version_shown(desk: Desk, text: str) -> dict[str, Any]:
    version = desk.version(text)
    history = await desk.store.history(desk.model)
    return {
        "model": desk.model,
        **await _version_row(desk, version),
        "metadata": await _metadata(desk, version),
        "gate_report": desk.versions[version].gate,
        "shadow": await _shadow(desk, version),
        "history": [asdict(change) for change in history if _concerns(change, version)],
    }


async def _metadata(desk: Desk, version: str) -> dict[str, Any]:
    """Raises click.ClickException when the file in the store cannot be trusted."""
    serialized = await desk.store.read_bytes(desk.model, version)
    try:
        return asdict(DifficultyClassifier.from_bytes(serialized or b"").metadata)
    except ClassifierError as error:
        raise click.ClickException(f"{version} in the store: {error}; add it again") from error


async def _shadow(desk: Desk, version: str) -> dict[str, Any] | None:
    """None when it compared nothing in the last day."""
    if not version:
        return None
    tally = await desk.store.read_shadow(desk.model, version, time.time())
    if not tally.compared + tally.failed:
        return None
    return {
        "version": version,
        "compared": tally.compared,
        "agreed": tally.agreed,
        "failed": tally.failed,
        "mean_ms": tally.microseconds / 1e3 / tally.compared if tally.compared else None,
        "tiers": _by_tier(tally),
    }


def _by_tier(tally: ShadowTally) -> dict[str, dict[str, int]]:
    """Requests by the tier decided on, then by the shadow's."""
    return {
        tier_word(tier): {tier_word(other): tally.tiers.get((tier, other), 0) for other in TIERS}
        for tier in TIERS
    }


def _concerns(change: Change, version: str) -> bool:
    return version in (change.champion, change.canary, change.shadow) or version in change.reason


def _print(document: dict[str, Any]) -> None:
    console = _console()
    if "metadata" in document:
        click.echo(f"version {document['version']}, for {document['model']}")
        console.print(_version_table([document]))
        click.echo(f"{bin_table(_of_document(document['metadata']))}\n")
        click.echo(_gate_words(document["gate_report"]))
    else:
        click.echo(f"{document['model']}: {document['serving']}")
    if shadow := document["shadow"]:
        click.echo(_shadow_line(shadow))
        console.print(_shadow_table(shadow))
    for line in _history_lines(document["history"]):
        click.echo(line)


def _of_document(metadata: dict[str, Any]) -> Metadata:
    return Metadata(**{**metadata, "bins": tuple(BinFit(**fit) for fit in metadata["bins"])})


def _version_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("version", "stage", "added", "by", "gate"):
        table.add_column(column, no_wrap=True)
    for column in ("rows", "decided", "missed", "expected"):
        table.add_column(column, justify="right", no_wrap=True)
    gates = {None: "-", True: "passed", False: "refused"}
    for row in rows:
        table.add_row(
            row["version"],
            row["stage"],
            _time(row["added_at_s"]),
            row["added_by"],
            gates[row["gate"]],
            *(f"{row[name]}" for name in ("training_rows", "decided", "missed")),
            f"{row['expected']:.0f}",
        )
    return table


def _shadow_line(shadow: dict[str, Any]) -> str:
    compared, failed = shadow["compared"], shadow["failed"]
    share = f"{shadow['agreed'] / compared:.1%}" if compared else "-"
    mean = "-" if shadow["mean_ms"] is None else f"{shadow['mean_ms']:.2f} ms"
    return (
        f"shadow {shadow['version']}: {share} of {compared} agree, {failed} failed, {mean} each; "
        "its tiers beside those decided on:"
    )


def _shadow_table(shadow: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("decided")
    for tier in shadow["tiers"]:
        table.add_column(tier, justify="right")
    for tier, counts in shadow["tiers"].items():
        table.add_row(tier, *map(str, counts.values()))
    return table


def _gate_words(report: dict[str, Any] | None) -> str:
    if report is None:
        return "no report of the gate"
    lines = [f"gate: {'passed' if report['passed'] is True else 'refused'}"]
    checks = report.get("checks")
    for check in checks if isinstance(checks, list) else ():
        if isinstance(check, dict):
            lines.append(f"  {check.get('name')}: {check.get('verdict')}")
    return "\n".join(lines)


def _history_lines(history: list[dict[str, Any]]) -> Iterator[str]:
    for change in history:
        canary = f", canary {change['canary']} {change['canary_share']:.1%}"
        shadow = f", shadow {change['shadow']}"
        yield (
            f"{_time(change['changed_at_s'])}  {change['action']} by {change['changed_by']}: "
            f"champion {change['champion']}{canary if change['canary'] else ''}"
            f"{shadow if change['shadow'] else ''}"
            f"{'  (' + change['reason'] + ')' if change['reason'] else ''}"
        )


def _time(time_s: float) -> str:
    return datetime.fromtimestamp(time_s).strftime("%Y-%m-%d %H:%M:%S")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
