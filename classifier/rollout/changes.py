"""`ponder classifier add|shadow|canary|promote|rollback`: one step of a rollout each."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from classifier.errors import ClassifierError
from classifier.predictor import DifficultyClassifier
from classifier.rollout.desk import Desk, at_desk, desk_options, in_words, who
from ponder.classifiers import MAX_BYTES, ClassifierStore, VersionRecord
from ponder.cli.output import print_json
from ponder.cli.traces import redis_option, run_with_ledger
from ponder.ledger import Ledger
from ponder.rollout import FILES, MAX_CANARY_SHARE, Rollout

_reason_option = click.option("--reason", default="", help="Kept in the history.")


@click.command()
@redis_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--gate",
    "gate_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="REPORT.json",
    help="What `ponder classifier gate --json` printed about this file. Without it judge it in the "
    "store: `ponder classifier gate VERSION` keeps the report there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def add(redis_url: str | None, file: Path, gate_path: Path | None, as_json: bool) -> None:
    """Put FILE, one ONNX graph, into the store. It decides nothing yet.

    It is loaded first, with the same checks as in a router. Which model it is for stands in it.
    """
    serialized = file.read_bytes()
    if len(serialized) > MAX_BYTES:
        raise click.ClickException(f"{file}: above {MAX_BYTES} bytes, which no router loads")
    try:
        loaded = DifficultyClassifier.from_bytes(serialized)
    except ClassifierError as error:
        raise click.ClickException(f"{file}: {error}") from error
    report = _gate_report(gate_path, loaded.version) if gate_path else None

    async def put(ledger: Ledger) -> None:
        await _put(ClassifierStore.beside(ledger), loaded, serialized, report)

    run_with_ledger(redis_url, put)
    if as_json:
        print_json({"model": loaded.model, "version": loaded.version})
    else:
        click.echo(f"added version {loaded.version} for {loaded.model}")


@click.command()
@desk_options
@click.argument("version", required=False)
@click.option("--stop", is_flag=True, help="End the shadow.")
def shadow(
    redis_url: str | None, model: str | None, as_json: bool, version: str | None, stop: bool
) -> None:
    """Let VERSION predict beside whoever decides, and compare the tiers.

    `ponder classifier show VERSION` prints how often they agree.
    """
    _check_one_of(version, stop)

    def change(desk: Desk) -> Rollout:
        if version is None:
            return desk.rollout.without_shadow()
        return desk.rollout.with_shadow(desk.version(version))

    _change(redis_url, model, "shadow", "", change, as_json=as_json)


@click.command()
@desk_options
@click.argument("version", required=False)
@click.option(
    "--share",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, MAX_CANARY_SHARE, min_open=True),
    help="Share of the requests that it decides, by request id.",
)
@click.option("--stop", is_flag=True, help="End the canary: the champion decides all again.")
@_reason_option
def canary(
    redis_url: str | None,
    model: str | None,
    as_json: bool,
    version: str | None,
    share: float,
    stop: bool,
    reason: str,
) -> None:
    """Let VERSION decide a share of the requests; again: with another share.

    Routers end it by themselves when it misses more often than it predicted, or than the champion.
    The counts of the last day decide, also those of an earlier try.
    """
    _check_one_of(version, stop)

    def change(desk: Desk) -> Rollout:
        if version is None:
            return desk.rollout.without_canary()
        return desk.rollout.with_canary(desk.version(version), share)

    _change(redis_url, model, "canary", reason, change, as_json=as_json)


@click.command()
@desk_options
@click.argument("version")
@click.option("--force", is_flag=True, help="Without a passed report of the gate.")
@_reason_option
def promote(
    redis_url: str | None,
    model: str | None,
    as_json: bool,
    version: str,
    force: bool,
    reason: str,
) -> None:
    """Let VERSION decide all requests; `files`: what the routers were configured with.

    For a day routers go back to the champion before it when it misses more often than it predicted.
    """

    def change(desk: Desk) -> Rollout:
        if version == FILES:
            return desk.rollout.promoted(FILES, time.time())
        found = desk.version(version)
        if not force and not desk.versions[found].has_passed:
            raise click.ClickException(
                f"{found} has no passed report of the gate: judge it with `ponder classifier gate "
                f"{found[:4]}`, or use --force"
            )
        return desk.rollout.promoted(found, time.time())

    _change(redis_url, model, "promote", reason, change, as_json=as_json)


@click.command()
@desk_options
@_reason_option
def rollback(redis_url: str | None, model: str | None, as_json: bool, reason: str) -> None:
    """Take the newest step back: end the canary or, without one, return to the champion before."""

    def change(desk: Desk) -> Rollout:
        rollout = desk.rollout
        return rollout.without_canary() if rollout.canary else rollout.rolled_back(time.time())

    _change(redis_url, model, "rollback", reason, change, as_json=as_json)


def _change(
    redis_url: str | None,
    model: str | None,
    action: str,
    reason: str,
    change: Callable[[Desk], Rollout],
    *,
    as_json: bool,
) -> None:
    async def work(desk: Desk) -> tuple[str, Rollout]:
        after = change(desk)
        if not await desk.store.change(
            desk.model, after, action=action, reason=reason, changed_by=who()
        ):
            raise click.ClickException(
                "somebody else changed the rollout just now: see `ponder classifier show`"
            )
        return desk.model, after

    name, after = at_desk(redis_url, model, work)
    if as_json:
        record = {"model": name, **asdict(after), "revision": after.revision + 1}
        kept = ("model", "revision", "champion", "previous", "canary", "canary_share", "shadow")
        print_json({field: record[field] for field in kept})
    else:
        click.echo(f"{name}: {in_words(after)}")


async def _put(
    store: ClassifierStore,
    loaded: DifficultyClassifier,
    serialized: bytes,
    report: Mapping[str, Any] | None,
) -> None:
    record = VersionRecord(
        added_at_s=time.time(), added_by=who(), training_rows=loaded.metadata.training_rows
    )
    await store.add(loaded.model, loaded.version, serialized, record)
    if report is not None:
        await store.put_gate(loaded.model, loaded.version, report)


def _gate_report(path: Path, version: str) -> Mapping[str, Any]:
    """Raises click.ClickException for a report on anything else."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.ClickException(f"{path}: no JSON: {error}") from error
    if not isinstance(report, dict) or not isinstance(report.get("passed"), bool):
        raise click.ClickException(f"{path}: no report of the gate: it has no passed")
    if (judged := report.get("candidate")) != version:
        raise click.ClickException(f"{path}: judges version {judged}, the file is {version}")
    return report


def _check_one_of(version: str | None, stop: bool) -> None:
    if (version is None) != stop:
        raise click.UsageError("give either a version or --stop")
