"""Measure the reference model: accuracy by budget, right steps, true claims, answers when cut.

    python -m workers.training.evaluate --model DIR [--problems 500] [--json FILE] [--quick]

Problems are of the test split (choose settings on the validation split); answers are scored by
reasoning-gym's own scorer. The teacher's own search runs on the same problems, beside the model.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ponder.figures import processor_name
from workers.confidence import ConfidenceMap
from workers.training import countdown
from workers.training.evaluation import MIX, Evaluation, FamilyFigures
from workers.training.evaluator import Evaluator
from workers.training.figures import family_figures
from workers.training.questions import EASY_FAMILIES, SYSTEM_FAMILY
from workers.training.records import ProblemRecord
from workers.training.report import render
from workers.training.rollouts import RolloutRunner

BUDGETS = (0, 50, 200, 500, 1000, 2000, 5000, 10_000)
"""Thinking budgets: the tiers, and what lies between them for the curve."""

QUICK_PROBLEMS = 40
MIX_SIZES = (4, 5, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What is measured, and how."""

    problems: int = 500  # of each size and family
    split: str = "test"
    temperature: float | None = None  # None: the model's own
    batch: int = 128
    threads: int = 1
    seed: int = 11


def evaluate(
    model_dir: Path, config: EvaluationConfig, on_done: Callable[[str], None]
) -> Evaluation:
    """Measure every family; `on_done` is told the name of each when it is done."""
    runner = RolloutRunner(
        model_dir, batch=config.batch, temperature=config.temperature, threads=config.threads
    )
    evaluator = Evaluator(runner, split=config.split, seed=config.seed, budgets=BUDGETS)
    confidence_map = ConfidenceMap.load(model_dir)
    started = time.monotonic()
    families: dict[str, FamilyFigures] = {}
    for family in EASY_FAMILIES:
        families[family] = family_figures(evaluator.easy(family, config.problems))
        on_done(family)
    families[SYSTEM_FAMILY] = family_figures(evaluator.systems(config.problems), confidence_map)
    on_done(SYSTEM_FAMILY)
    mix: list[ProblemRecord] = []
    for size in countdown.SIZES:
        records = evaluator.countdown(size, config.problems)
        mix += records if size in MIX_SIZES else []
        families[f"countdown-{size}"] = family_figures(records, confidence_map)
        on_done(f"countdown-{size}")
    families[MIX] = family_figures(mix, confidence_map)
    return Evaluation(
        split=config.split,
        temperature=runner.temperature,
        seed=config.seed,
        seconds=time.monotonic() - started,
        device=processor_name(),
        families=families,
    )


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, evaluate, print the report."""
    options = _parse(arguments)
    config = EvaluationConfig(
        problems=QUICK_PROBLEMS if options.quick else options.problems,
        split=options.split,
        temperature=options.temperature,
        batch=options.batch,
        threads=options.threads,
        seed=options.seed,
    )
    evaluation = evaluate(options.model, config, _report_progress)
    print(render(evaluation))
    if options.json:
        evaluation.write(options.json)


def _report_progress(family: str) -> None:
    print(f"{family} done", file=sys.stderr, flush=True)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    defaults = EvaluationConfig()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    parser.add_argument("--problems", type=int, default=defaults.problems, help="of each kind")
    parser.add_argument("--split", choices=countdown.SPLITS[1:], default=defaults.split)
    parser.add_argument("--temperature", type=float, help="default: the model's own")
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--threads", type=int, default=defaults.threads)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PROBLEMS} problems each")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
