"""Fit what the confidence of a forced answer means, on the validation split.

    python -m workers.training.fit_confidence --model DIR [--problems 300]

Cuts the thinking about Countdown problems at random tokens, looks which of the forced answers are
right, and writes `confidence.json` into the model's directory. Evaluation and workers read it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from workers.confidence import FILE_NAME, ConfidenceMap
from workers.training.evaluate import MIX_SIZES
from workers.training.evaluator import TIER_BUDGETS, Evaluator
from workers.training.records import ForcedAnswer
from workers.training.rollouts import RolloutRunner

SPLIT = "validation"
_DECIMALS = 4


def fit(answers: Sequence[ForcedAnswer]) -> ConfidenceMap:
    """Fit a map that never falls (isotonic regression; Zadrozny and Elkan, KDD 2002).

    Knots are rounded: between answers that close the fit knows nothing, and equal means would make
    the map ambiguous.
    """
    confidence = np.array([answer.confidence for answer in answers])
    is_right = np.array([answer.is_right for answer in answers], float)
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    model.fit(confidence, is_right)
    thresholds = zip(model.X_thresholds_, model.y_thresholds_, strict=True)
    knots = {round(float(x), _DECIMALS): round(float(y), _DECIMALS) for x, y in thresholds}
    return ConfidenceMap.of(sorted(knots.items()))


def collect(runner: RolloutRunner, problems: int, seed: int) -> list[ForcedAnswer]:
    """Answers forced at random tokens of the thinking, about the mix that figures are for."""
    evaluator = Evaluator(runner, split=SPLIT, seed=seed, budgets=TIER_BUDGETS[-1:])
    answers: list[ForcedAnswer] = []
    for size in MIX_SIZES:
        records = evaluator.countdown(size, problems)
        answers += [a for record in records for a in record.forced if a.is_random_cut]
    return answers


def write(directory: Path, fitted: ConfidenceMap, answers: int, seed: int) -> None:
    """Write the map with what it was fitted on."""
    document: dict[str, Any] = {
        "measure": "geometric mean probability of the answer's tokens",
        "split": SPLIT,
        "answers": answers,
        "seed": seed,
        "knots": fitted.knots,
    }
    text = json.dumps(document, indent=2) + "\n"
    (directory / FILE_NAME).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, collect, fit, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    parser.add_argument("--problems", type=int, default=300, help="of each size")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args(arguments)
    runner = RolloutRunner(
        options.model, batch=options.batch, temperature=None, threads=options.threads
    )
    answers = collect(runner, options.problems, options.seed)
    write(options.model, fit(answers), len(answers), options.seed)


if __name__ == "__main__":
    main()
