"""`ponder traces drift`: whether a model's classifier still fits what it is asked."""

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

from classifier.drift.assessment import (
    RECENT_ROWS,
    Finding,
    Own,
    Traffic,
    Verdict,
    assess,
    worst,
)
from classifier.drift.stability import ALARM_PSI, MIN_ROWS, WARN_PSI
from classifier.errors import ClassifierError
from classifier.predictor import DifficultyClassifier
from classifier.rollout.stored import read_champion
from ponder.classifiers import ClassifierStore
from ponder.cli.output import print_json
from ponder.cli.traces import models_to_read, redis_option, run_with_ledger
from ponder.ledger import Ledger
from ponder.rollout import RolloutError

_PIPE_WIDTH = 140
_ALARM_STATUS: Final = 3
_STYLES: Final = {Verdict.WARN: "yellow", Verdict.ALARM: "red", Verdict.TOO_FEW: "dim"}

_EPILOG = f"""\b
Examples:
  ponder traces drift --model reference
  ponder traces drift --json | jq '.models[].verdict'

PSI, the population stability index, compares recent traces with those that the classifier was
trained on; where its file does not hold them (it is older, or the model has none of its own), with
the traces before. From {WARN_PSI} on it is a warning, from {ALARM_PSI} an alarm. Budget hit rate:
how often the first budget did not suffice. Coverage residual: the same less what was predicted.
Fewer than {MIN_ROWS} rows are not judged. Exit status {_ALARM_STATUS}: something is at alarm.
"""


@click.command(epilog=_EPILOG)
@redis_option
@click.option("--model", help="Only of this model.  [default: all]")
@click.option(
    "--classifier",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ONNX file of the model's classifier.  [default: the version that serves, of the store; "
    "without one the shipped file, if it is the model's]",
)
@click.option(
    "--recent",
    default=RECENT_ROWS,
    show_default=True,
    type=click.IntRange(MIN_ROWS),
    help="How many of the newest traces are compared.",
)
@click.option(
    "--traces",
    "num_traces",
    default=10_000,
    show_default=True,
    type=click.IntRange(MIN_ROWS),
    help="How many of the newest traces are read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def drift(
    redis_url: str | None,
    model: str | None,
    path: Path | None,
    recent: int,
    num_traces: int,
    as_json: bool,
) -> None:
    """Tell whether prompts, predictions or coverage have moved, and what to do."""
    classifier = _load(path) if path else None
    with Console(stderr=True).status("reading traces"):
        found = run_with_ledger(redis_url, lambda ledger: _read(ledger, model, num_traces))
    assessed = {
        name: assess(traffic, _own(name, classifier or of_store), recent)
        for name, (traffic, of_store) in found.items()
    }
    if as_json:
        print_json({"models": {name: _document(of) for name, of in assessed.items()}})
    else:
        _print(assessed, {name: len(traffic) for name, (traffic, _) in found.items()})
    if any(worst(findings) is Verdict.ALARM for findings in assessed.values()):
        sys.exit(_ALARM_STATUS)


async def _read(
    ledger: Ledger, model: str | None, num_traces: int
) -> dict[str, tuple[Traffic, DifficultyClassifier | None]]:
    """By model, with the version of the store that serves it."""
    found = {}
    for name in await models_to_read(ledger, model):
        newest = []
        async for _, trace in ledger.read_newest_traces(name):
            newest.append(trace)
            if len(newest) >= num_traces:
                break
        if not newest:
            raise click.ClickException(f"no traces of {name}: check the name")
        traffic = Traffic()
        for trace in reversed(newest):
            traffic.add(trace)
        found[name] = traffic, await _of_store(ledger, name)
    return found


async def _of_store(ledger: Ledger, model: str) -> DifficultyClassifier | None:
    try:
        serialized = await read_champion(ClassifierStore.beside(ledger), model)
        return DifficultyClassifier.from_bytes(serialized) if serialized else None
    except (ClassifierError, RolloutError) as error:
        raise click.ClickException(f"{error}; or name a file with --classifier") from error


def _own(model: str, given: DifficultyClassifier | None) -> Own | None:
    """What is given, as ROUTER_CLASSIFIER is, or serves; else what is shipped for the model."""
    shipped = Path(str(files("classifier"))) / "reference" / "difficulty.onnx"
    if given is None and shipped.exists():
        given = _load(shipped)
        given = given if given.model == model else None
    return Own(version=given.version, reference=given.reference) if given else None


def _load(path: Path) -> DifficultyClassifier:
    try:
        return DifficultyClassifier.load(path)
    except ClassifierError as error:
        raise click.ClickException(str(error)) from error


def _document(findings: list[Finding]) -> dict[str, Any]:
    return {
        "verdict": worst(findings).value,
        "advice": _advice(findings),
        "findings": [finding.as_dict() for finding in findings],
    }


def _print(assessed: Mapping[str, list[Finding]], num_traces: Mapping[str, int]) -> None:
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    for name, findings in assessed.items():
        title = f"{name}: {num_traces[name]} traces"
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
        table.add_column("")
        table.add_column("value", justify="right")
        table.add_column("verdict")
        table.add_column("why")
        for finding in findings:
            value = "-" if finding.value is None else f"{finding.value:.3f}"
            style = _STYLES.get(finding.verdict)
            table.add_row(finding.name, value, finding.verdict.value, finding.detail, style=style)
        console.print(table)
        console.print(_advice(findings))


def _advice(findings: list[Finding]) -> str:
    judged = [one for one in findings if one.verdict in (Verdict.WARN, Verdict.ALARM)]
    names = ", ".join(finding.name for finding in judged)
    if any(finding.verdict is Verdict.ALARM for finding in judged):
        return f"{names}: retrain on recent traces: ponder traces export, then ponder train"
    if judged:
        return f"{names}: watch it; retrain if it stays or grows"
    if any(finding.verdict is Verdict.TOO_FEW for finding in findings):
        return "too few traces to judge everything; look again later"
    return "nothing to do"
