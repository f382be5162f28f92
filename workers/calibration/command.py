"""`ponder calibrate`: how sure a model must be to stop thinking, from its own thinking."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from workers.calibration.learn import (
    Calibration,
    Calibrator,
    Outcome,
    RecordedProblem,
    is_tested,
    least_problems,
)
from workers.calibration.plot import draw_curve
from workers.calibration.prompts import CalibrationPrompt, read_prompts, reference_prompts
from workers.calibration.record import Recording, RecordingConfig
from workers.early_exit import ExitRules
from workers.early_exit.rules import FILE_NAME
from workers.engine import EngineError
from workers.errors import EarlyExitFileError

_EPILOG = """\b
Examples:
  ponder calibrate --model models/qwen3-8b --prompts mine.jsonl --trial-text $'\\n\\n**Answer:** '
  ponder calibrate --model workers/reference --separator $'\\n' --problems 1000 --plot curve.svg

mine.jsonl holds lines like {"prompt": "...", "answer": "..."}, some hundred that are like those the
model will serve: the fewer, the larger the risk that they can show. Without an answer, stopping
early must give the answer that thinking on gives.
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--model",
    "model_dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Hugging Face directory.",
)
@click.option(
    "--prompts",
    "prompts_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON lines.  [default: questions like those of the reference model's training]",
)
@click.option("--problems", default=500, show_default=True, help="At most so many prompts.")
@click.option(
    "--risk",
    default=0.02,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Largest share of answers that stopping early may lose.",
)
@click.option(
    "--delta",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Largest probability that the share is above the risk after all.",
)
@click.option("--budget", default=10_000, show_default=True, help="Thinking tokens of a prompt.")
@click.option("--separator", "separators", multiple=True, help="Text that ends a step; repeatable.")
@click.option("--trial-text", help="Fed to a trial after </think>, so that it comes to the point.")
@click.option(
    "--give-up", is_flag=True, help="Also find out when thinking gets nowhere and may be closed."
)
@click.option("--temperature", type=float, help="[default: the model's own]")
@click.option("--seed", default=11, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--json", "json_path", metavar="FILE", help="Write the curve as JSON; - for standard output."
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curve: .svg, .png."
)
@click.option("--dry-run", is_flag=True, help=f"Measure, but write no {FILE_NAME}.")
def calibrate(
    model_dir: Path,
    prompts_path: Path | None,
    problems: int,
    risk: float,
    delta: float,
    budget: int,
    separators: tuple[str, ...],
    trial_text: str | None,
    give_up: bool,
    temperature: float | None,
    seed: int,
    device: str,
    json_path: str | None,
    plot: Path | None,
    dry_run: bool,
) -> None:
    """Measure how sure a model must be before it may stop thinking.

    Thinks about every prompt to the end, tries an answer at every step, and lowers the confidence
    that stops the thinking as long as the share of answers lost stays below the risk, which holds
    with probability 1 - delta. Runs what it chose once more, and writes early_exit.json beside the
    model, where workers find it.
    """
    try:
        rules = _base_rules(model_dir, separators, trial_text)
        prompts = _prompts(prompts_path, problems, seed)
        _check_enough(len(prompts), risk, delta / 2 if give_up else delta)
        config = RecordingConfig(
            model_dir=model_dir, budget_tokens=budget, temperature=temperature, device=device
        )
        recording = Recording(config, rules, seed)
    except (ValueError, EngineError, EarlyExitFileError) as error:
        raise click.ClickException(str(error)) from error
    records = _record(recording, prompts)
    calibrator = Calibrator(
        base=rules,
        num_fed=recording.num_fed,
        budget_tokens=budget,
        risk=risk,
        delta=delta,
        gives_up=give_up,
    )
    calibration = _confirm(calibrator, calibrator.calibrate(records), recording, prompts)
    _report(calibration, risk, delta, recording.num_lost, json_path)
    if plot is not None:
        draw_curve(calibration, risk, plot)
    if calibration.chosen is None:
        raise click.ClickException(_nothing_shown(calibration.curve[0], risk))
    if not dry_run:
        _write(model_dir / FILE_NAME, calibration.chosen, risk, delta)


def _base_rules(model_dir: Path, separators: tuple[str, ...], trial_text: str | None) -> ExitRules:
    """What is not measured: from the options, else from the file that is there."""
    rules = ExitRules.load(model_dir) or ExitRules()
    if separators:
        rules = replace(rules, separators=separators)
    rules = replace(rules, give_up_confidence=None)
    return rules if trial_text is None else replace(rules, trial_text=trial_text)


def _prompts(path: Path | None, count: int, seed: int) -> list[CalibrationPrompt]:
    source = reference_prompts(seed) if path is None else iter(read_prompts(path))
    return list(islice(source, count))


def _check_enough(count: int, risk: float, delta: float) -> None:
    needed = least_problems(risk, delta)
    if count < needed:
        raise ValueError(
            f"{count} prompts cannot show a risk of {risk:g} at delta {delta:g}: give at least "
            f"{needed}, or allow more risk"
        )


def _confirm(
    calibrator: Calibrator,
    calibration: Calibration,
    recording: Recording,
    prompts: list[CalibrationPrompt],
) -> Calibration:
    """Run what was chosen: a replay leaves out what repetition adds."""
    chosen = calibration.chosen
    if chosen is None:
        return calibration
    tested = {i: prompt for i, prompt in enumerate(prompts) if is_tested(i)}
    losses = recording.confirm(tested, chosen.rules)
    confidence = f"confidence {chosen.rules.confidence:g}"
    click.echo(f"run at {confidence}: {losses} of {len(tested)} answers lost", err=True)
    return replace(calibration, chosen=calibrator.confirmed(chosen, losses))


def _record(recording: Recording, prompts: list[CalibrationPrompt]) -> list[RecordedProblem]:
    bar = tqdm(recording.run(prompts), total=len(prompts), unit="prompt", leave=False)
    return [record for _, record in sorted(bar, key=lambda pair: pair[0])]


def _report(
    calibration: Calibration, risk: float, delta: float, num_lost: int, json_path: str | None
) -> None:
    """A table for people, or JSON."""
    if json_path is None:
        Console().print(_table(calibration, risk))
        return
    document = json.dumps(_document(calibration, risk, delta, num_lost), indent=2) + "\n"
    if json_path == "-":
        click.echo(document, nl=False)
    else:
        Path(json_path).write_text(document, encoding="utf-8")


def _document(calibration: Calibration, risk: float, delta: float, lost: int) -> dict[str, Any]:
    chosen = calibration.chosen
    return {
        "risk": risk,
        "delta": delta,
        "trials_without_room": lost,
        "chosen": None if chosen is None else asdict(chosen),
        "curve": [asdict(outcome) for outcome in calibration.curve],
    }


def _write(path: Path, chosen: Outcome, risk: float, delta: float) -> None:
    measured = {name: value for name, value in asdict(chosen).items() if name != "rules"}
    document = {
        "rules": chosen.rules.to_json(),
        "calibration": {"risk": risk, "delta": delta, **measured},
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(f"wrote {path}", err=True)


def _nothing_shown(strictest: Outcome, risk: float) -> str:
    return (
        f"no rules lose at most {risk:.1%} for sure: by the records the strictest lost "
        f"{strictest.losses} of {strictest.problems}, and what was chosen had to hold in a run of "
        "its own. Give more prompts, allow more risk, or leave early exit off"
    )


def _table(calibration: Calibration, risk: float) -> Table:
    chosen = calibration.chosen
    rules = calibration.curve[0].rules
    title = (
        f"{rules.agreement} agreeing trials, {rules.min_gap_tokens} to {rules.max_gap_tokens} "
        f"tokens apart, entropy up to {rules.max_entropy:g}"
    )
    table = Table(title=title, caption=f"chosen: the last row in order with a bound <= {risk:.1%}")
    for column in ("confidence", "lost", "bound", "saved", "net of trials", ""):
        table.add_column(column, justify="right")
    for outcome in calibration.curve:
        table.add_row(
            f"{outcome.rules.confidence:g}",
            f"{outcome.losses} of {outcome.problems}",
            f"{outcome.risk_bound:.2%}",
            f"{outcome.gross_saved:.1%}",
            f"{outcome.net_saved:.1%}",
            "chosen" if chosen is not None and outcome.rules == chosen.rules else "",
        )
    return table
