"""Make the reference model from nothing: train, fit its confidence, evaluate, write its card.

    python -m workers.training.reproduce --run-dir runs/reference [--quick]

Everything is generated on the way. Each stage leaves a file and is not done again, and training
goes on from its last checkpoint: call it again after an interruption. The result is a Hugging Face
directory, RUN_DIR/model. The evaluation runs on the test split, whatever came out of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ponder.figures import processor_name
from workers import confidence
from workers.calibration.command import calibrate
from workers.early_exit import rules
from workers.training import card, evaluate, fit_confidence, plot, train
from workers.training.evaluation import Evaluation

QUICK_TOKENS = 300_000
"""Enough to see every stage work; the model is then good for nothing."""

_CALIBRATION = ("--separator", "\n", "--problems", "1000", "--risk", "0.005")
"""The model thinks in lines; fewer problems could not show so small a risk."""


def reproduce(run_dir: Path, *, threads: int, is_quick: bool) -> None:
    """Run every stage whose result is not there yet; a quick run has a directory of its own."""
    run_dir = run_dir / "quick" if is_quick else run_dir
    model = run_dir / "model"
    evaluation = model / "evaluation.json"
    run = ["--threads", str(threads)]
    training = ["--run-dir", str(run_dir), *run]
    if is_quick:
        training += ["--tokens", str(QUICK_TOKENS)]
    _stage("training", model / "training.json", lambda: train.main(training))
    fitting = ["--model", str(model), *run, *(["--problems", "20"] if is_quick else [])]
    _stage(
        "fitting the confidence",
        model / confidence.FILE_NAME,
        lambda: fit_confidence.main(fitting),
    )
    if not is_quick:  # which is never sure of anything
        _stage("calibrating early exit", model / rules.FILE_NAME, lambda: _calibrate(model))
    measuring = ["--model", str(model), "--json", str(evaluation), *run]
    measuring += ["--quick"] if is_quick else []
    _stage("evaluating", evaluation, lambda: evaluate.main(measuring))
    _stage(
        "drawing", model / "thinking.svg", lambda: plot.draw_svg(Evaluation.read(evaluation), model)
    )
    machine = f"{processor_name()}, torch threads: {threads}"
    card.main(["--model", str(model), "--evaluation", str(evaluation), "--trained-on", machine])
    _say(f"the model is in {model}, its card in {model / 'README.md'}")


def _calibrate(model: Path) -> None:
    plot_path = model / "early_exit.svg"
    options = ["--model", str(model), *_CALIBRATION, "--plot", str(plot_path)]
    calibrate.main(options, standalone_mode=False)


def _stage(name: str, result: Path, run: Callable[[], object]) -> None:
    if result.exists():
        _say(f"{name}: done before, {result}")
        return
    _say(name)
    run()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and make the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run-dir", type=Path, required=True, help="checkpoints and result")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_TOKENS:,} tokens and few problems: shows that it works, in minutes",
    )
    options = parser.parse_args(arguments)
    reproduce(options.run_dir, threads=options.threads, is_quick=options.quick)


if __name__ == "__main__":
    main()
