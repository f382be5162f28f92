"""Records written by hand, and an evaluation computed from them."""

import math
from functools import cache
from random import Random
from typing import Any

from workers.training.evaluation import MIX, Evaluation
from workers.training.figures import family_figures
from workers.training.records import NO_STEPS, ForcedAnswer, ProblemRecord, ThinkingRecord
from workers.training.shares import Share

BUDGETS = (0, 50, 200, 500, 1000, 2000, 5000, 10_000)


def answer(confidence: float, *, is_right: bool, is_random_cut: bool = True) -> ForcedAnswer:
    """A well-formed answer of one token."""
    return ForcedAnswer(
        num_tokens=1,
        logprob=math.log(confidence),
        is_right=is_right,
        is_well_formed=True,
        has_marker=False,
        is_random_cut=is_random_cut,
    )


def thinking(tokens: int = 100, useful: int | None = 60, **changes) -> ThinkingRecord:
    """A thinking whose ten early steps are right."""
    fields: dict[str, Any] = {
        "tokens": tokens,
        "is_finished": True,
        "steps": (Share(10, 10), *NO_STEPS[1:]),
        "claims": Share(1, 1),
        "lines": Share(3, 3),
        "useful_tokens": useful,
    }
    return ThinkingRecord(**(fields | changes))


def problem(solved_at: int, *answers: ForcedAnswer, **changes) -> ProblemRecord:
    """A problem that is right from a budget on; so is its oracle in half of the searches."""
    fields: dict[str, Any] = {
        "thinking": thinking(),
        "is_right": {budget: budget >= solved_at for budget in BUDGETS},
        "oracle": {budget: 0.5 * (budget >= solved_at) for budget in BUDGETS},
        "forced": answers,
    }
    return ProblemRecord(**(fields | changes))


@cache
def evaluation() -> Evaluation:
    """Twenty problems of each kind, the harder ones solved later."""
    rng = Random(4)
    sizes = {size: [_random_problem(rng, size) for _ in range(20)] for size in (2, 3, 4, 5, 6)}
    easy = [ProblemRecord(thinking=thinking(20), is_right={50: i > 0}) for i in range(20)]
    families = {name: family_figures(easy) for name in ("capital", "equation", "arithmetic")}
    families["system"] = family_figures([problem(500) for _ in range(20)])
    families |= {f"countdown-{size}": family_figures(records) for size, records in sizes.items()}
    families[MIX] = family_figures([*sizes[4], *sizes[5], *sizes[6]])
    return Evaluation(
        split="test", temperature=0.8, seed=1, seconds=90.0, device="a processor", families=families
    )


def _random_problem(rng: Random, size: int) -> ProblemRecord:
    confidence = rng.uniform(0.05, 0.95)
    is_right = rng.random() < confidence
    budget = rng.choice([b for b in BUDGETS if b >= 50][: size + 1])
    return problem(budget, answer(confidence, is_right=is_right))
