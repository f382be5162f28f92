"""Logs as a router would have left them, from traces that nothing cut: so their truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from classifier.columns import Outcome
from classifier.decisions import NUM_TIERS, Decision
from classifier.gate.rows import LoggedOutcome
from classifier.survival import TIER_BUDGETS
from ponder.bins import stopped_by_itself
from ponder.v1.budget_pb2 import THINKING_STOP_EXHAUSTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """How a router decides: `exploration` is the share of decisions that are promoted one tier,
    `goes_on` the chance that a request that spent its budget gets the next one.
    """

    exploration: float = 0.01
    goes_on: float = 1.0
    budgets: tuple[int, ...] = tuple(TIER_BUDGETS.values())


def simulate_logs(
    outcomes: Sequence[Outcome], tiers: NDArray[np.int64], logging: Logging, seed: int
) -> list[LoggedOutcome]:
    """What is logged of `outcomes`, which nothing may have cut below the largest budget, when the
    classifier decides on `tiers` (num_outcomes,).
    """
    rng = np.random.default_rng(seed)
    return [
        _logged(outcome, int(tier), logging, rng, float(number))
        for number, (outcome, tier) in enumerate(zip(outcomes, tiers, strict=True))
    ]


def cut(outcome: Outcome, budget_tokens: int) -> Outcome:
    """The same request with this budget."""
    if stopped_by_itself(outcome.stop) and outcome.thinking_tokens <= budget_tokens:
        return replace(outcome, budget_tokens=budget_tokens)
    return replace(
        outcome,
        thinking_tokens=budget_tokens,
        budget_tokens=budget_tokens,
        stop=THINKING_STOP_EXHAUSTED,
    )


def _logged(
    outcome: Outcome, tier: int, logging: Logging, rng: np.random.Generator, finished_at_s: float
) -> LoggedOutcome:
    propensities = np.zeros(NUM_TIERS)
    propensities[tier] = 1.0
    if tier + 1 < NUM_TIERS:
        propensities[tier : tier + 2] = 1.0 - logging.exploration, logging.exploration
    first = reached = int(rng.choice(NUM_TIERS, p=propensities))
    while _is_spent(outcome, logging.budgets[reached]) and reached + 1 < NUM_TIERS:
        if rng.random() >= logging.goes_on:
            break
        reached += 1
    decision = Decision(
        first_tier=first,
        escalations=reached - first,
        propensities=tuple(propensities.tolist()),
        is_automatic=True,
    )
    logged = replace(cut(outcome, logging.budgets[reached]), decision=decision)
    return LoggedOutcome(outcome=logged, finished_at_s=finished_at_s)


def _is_spent(outcome: Outcome, budget_tokens: int) -> bool:
    return outcome.thinking_tokens > budget_tokens or not stopped_by_itself(outcome.stop)
