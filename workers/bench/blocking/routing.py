"""The router's own decisions, for a simulated cluster. The one module of workers that imports it.

Prediction, policy, escalation and the choice of a worker are the router's code; what is left out is
what it would learn from Redis.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, TIER_MODERATE, Pool
from router import admission, policy
from router import choice as worker_choice
from router.admission import Bounds, PoolLoad
from router.burden import Burden as Burden
from router.errors import DeadlineTooShort
from router.policy import (
    Limits,
    PolicyConfig,
    Wish,
    affordable_tokens,
    choose,
    escalate,
)
from router.survival import SurvivalCurve
from router.tiers import TierTable
from workers.bench.blocking.jobs import Outcomes
from workers.engine.config import EngineConfig
from workers.expectation import expected_need

_COVERAGE = 0.9
_EXPLORATION = 0.01
BOUNDS: Final = Bounds(queue_s=30.0, line_s=2.0)
_ANSWER_RESERVE_S = 0.05
ANSWER_RESERVE_TOKENS: Final = 32
MAX_DURATION_S: Final = 600.0
"""These are the defaults of router.config; a test holds them together."""
PROBATION_TOKENS: Final = EngineConfig(model_dir=Path()).probation_tokens
# Less is not lent, as router.pools has it; a test holds the two together.
LEAST_LOAN_TOKENS: Final = 200

_OTHER = {POOL_EASY: POOL_THINKING, POOL_THINKING: POOL_EASY}
_NO_LIMITS = Limits(affordable_tokens={})
_WISH = Wish(coverage=_COVERAGE)


@dataclass(slots=True, eq=False)
class WorkerView:
    """What the router knows of a worker: a router.choice.Candidate.

    `cap_tokens`: most thinking tokens that it does of a request, the prefix included. `measure`
    tells what its requests are predicted to take.
    """

    index: int
    pool: Pool.ValueType
    slots: int
    cap_tokens: int
    in_flight: int = 0
    is_ejected: bool = False
    measure: Callable[[], Burden] = Burden
    probation_tokens: int = PROBATION_TOKENS

    @property
    def demoted_slots(self) -> int:
        return worker_choice.usual_demoted_slots(self.slots)

    @property
    def burden(self) -> Burden:
        return self.measure()


Decision = policy.Choice


class Routing:
    """One router in front of the workers of two pools."""

    def __init__(
        self,
        outcomes: Outcomes,
        views: Sequence[WorkerView],
        seed: int,
        tokens_per_s: float,
    ) -> None:
        """`tokens_per_s`: of one sequence, as the workers measure it."""
        self._tokens_per_s = tokens_per_s
        self._rng = random.Random(seed)
        self._config = PolicyConfig(
            tiers=TierTable(), default_tier=TIER_MODERATE, exploration=_EXPLORATION
        )
        self._curves = [SurvivalCurve.from_hazards(row) for row in outcomes.hazards]
        self._expected_needs = [expected_need(row.tolist()) for row in outcomes.hazards]
        self.views = views
        self._by_pool = {
            pool: [view for view in views if view.pool == pool]
            for pool in (POOL_EASY, POOL_THINKING)
        }

    def decide(self, row: int, left_s: float) -> Decision | None:
        """What the policy decides for a request that is predicted as this outcome was, and has so
        long until its deadline; None: it is refused for the load.
        """
        curve, draw = self._curves[row], self._rng.random()
        try:
            choice = choose(_WISH, curve, self._limits(left_s, 0), self._config, draw)
        except DeadlineTooShort:
            return None
        tokens = min(choice.budget_tokens, curve.quantile_tokens(admission.SERVICE_QUANTILE))
        tokens += ANSWER_RESERVE_TOKENS
        service_s = tokens / self._tokens_per_s + _ANSWER_RESERVE_S
        work = admission.Work(tokens=tokens, service_s=service_s, left_s=left_s)
        refused = admission.retry_after_s(work, self._load(choice.pool), BOUNDS)
        return choice if refused is None else None

    def raised(self, choice: Decision, thought_tokens: int, left_s: float) -> Decision | None:
        """One tier up, if policy and load allow it."""
        limits = self._limits(left_s, thought_tokens)
        return escalate(choice, _WISH, limits, self._config.tiers)

    def _limits(self, left_s: float, thought_tokens: int) -> Limits:
        """As router.limits has them."""
        loads = {pool: self._load(pool) for pool in self._by_pool}
        return Limits(
            closed_tiers=admission.closed_tiers(loads, self._config.tiers, BOUNDS),
            affordable_tokens={pool: self._affordable(left_s, thought_tokens) for pool in loads},
            queued_tokens={
                pool: admission.affordable_in_line(
                    load,
                    lambda wait_s: self._affordable(left_s - wait_s, thought_tokens),
                    ANSWER_RESERVE_TOKENS,
                )
                for pool, load in loads.items()
                if load.wait_s
            },
        )

    def _affordable(self, left_s: float, thought_tokens: int) -> int:
        tokens = affordable_tokens(
            left_s=left_s,
            tokens_per_s=self._tokens_per_s,
            reserve_tokens=ANSWER_RESERVE_TOKENS,
            reserve_s=_ANSWER_RESERVE_S,
        )
        return tokens if tokens < 0 else thought_tokens + tokens

    def _load(self, pool: Pool.ValueType) -> PoolLoad:
        """As router.pools tells it."""
        home, away = self._by_pool[pool], self._by_pool[_OTHER[pool]]
        cap = self._config.tiers.easy_cap
        lenders = [view for view in away if pool == POOL_EASY or view.cap_tokens > cap]
        slots = sum(view.slots for view in home)
        burden = sum((view.burden for view in home), Burden())
        return PoolLoad(
            slots=slots + sum(map(worker_choice.lendable_slots, lenders)),
            in_flight=burden.num,
            backlog_tokens=burden.tokens,
            tokens_per_s=slots * self._tokens_per_s,
            num_young=burden.num_young,
            young_tokens=burden.young_tokens,
            probation_tokens=PROBATION_TOKENS,
        )

    def burden_of(self, row: int, choice: Decision, thought_tokens: int) -> Burden:
        """What a request counts against the worker that has it."""
        thinking = self._curves[row].expected_tokens(thought_tokens, choice.budget_tokens)
        return Burden.of(thinking + ANSWER_RESERVE_TOKENS, thought_tokens, PROBATION_TOKENS)

    def expected_need(self, row: int) -> float | None:
        """What the worker makes of the prediction, to order its queue."""
        return self._expected_needs[row]

    def find(
        self,
        choice: Decision,
        thought_tokens: int = 0,
        holder: WorkerView | None = None,
        full: frozenset[int] = frozenset(),
    ) -> WorkerView | None:
        """The worker that takes the segment, as router.pools finds it; not one of those that are
        full. `holder` has computed what was thought.
        """
        home = self._able(choice.pool, choice.budget_tokens, full)
        lent = min(choice.budget_tokens, thought_tokens + LEAST_LOAN_TOKENS)
        away = self._able(_OTHER[choice.pool], lent if home else choice.budget_tokens, full)
        return worker_choice.choose(
            home, away, self._rng, holder=holder, prefix_tokens=thought_tokens
        )

    def _able(
        self, pool: Pool.ValueType, tokens: int, full: frozenset[int]
    ) -> Sequence[WorkerView]:
        views = self._by_pool[pool]
        return [view for view in views if view.cap_tokens >= tokens and view.index not in full]


def predicted_easy(outcomes: Outcomes) -> NDArray[np.bool_]:
    """(rows,): whether the policy sends what is predicted so to the easy pool."""
    config = PolicyConfig(tiers=TierTable(), default_tier=TIER_MODERATE, exploration=0.0)
    curves = map(SurvivalCurve.from_hazards, outcomes.hazards)
    pools = [choose(_WISH, curve, _NO_LIMITS, config, 0.0).pool for curve in curves]
    looks_easy: NDArray[np.bool_] = np.array(pools) == POOL_EASY
    return looks_easy
