"""What bounds a decision at this moment: the plan, the load, and what the deadline affords."""

import time
from collections.abc import Callable
from functools import partial

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, Pool
from router import admission
from router.admission import Bounds, Work
from router.config import RouterConfig
from router.decisions import Decision
from router.errors import DeadlineTooShort, RouterError, WorkersSaturated
from router.policy import Limits, affordable_tokens
from router.pools import Pools
from router.queries import Query


class CurrentLimits:
    """Reads clock, speeds and load for the policy and the admission, which are pure."""

    def __init__(
        self, config: RouterConfig, pools: Pools, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._pools = pools
        self._clock = clock

    def left_s(self, query: Query) -> float:
        """Time until the deadline of the request; negative when it has passed."""
        return query.deadline_at_s - self._clock()

    def of(self, query: Query, spent_tokens: int = 0) -> Limits:
        """For a request that has already thought `spent_tokens`."""
        loads = {pool: self._pools.load(pool, query.model) for pool in (POOL_EASY, POOL_THINKING)}
        tiers = self._config.tiers_of(query.model)
        return Limits(
            entitled_tier=query.tenant.max_tier,
            closed_tiers=admission.closed_tiers(loads, tiers, self._bounds),
            affordable_tokens={
                pool: self._affordable(query, pool, 0.0, spent_tokens) for pool in loads
            },
            queued_tokens={
                pool: admission.affordable_in_line(
                    load,
                    partial(self._affordable, query, pool, spent_tokens=spent_tokens),
                    self._answer_tokens(query),
                )
                for pool, load in loads.items()
                if load.wait_s
            },
        )

    def check_load(self, query: Query, decision: Decision) -> None:
        """Raises WorkersSaturated when the pool has no room for the request as it was decided."""
        tokens = decision.choice.budget_tokens
        if decision.prediction is not None:
            quantile = decision.prediction.curve.quantile_tokens(admission.SERVICE_QUANTILE)
            tokens = min(tokens, quantile)
        self._check_load(query, decision.choice.pool, tokens)

    @property
    def _bounds(self) -> Bounds:
        return Bounds(queue_s=self._config.max_queue_s, line_s=self._config.max_line_s)

    def why_late(self, query: Query, late: DeadlineTooShort) -> RouterError:
        """The same, or that the load is to blame: without it there would have been time."""
        try:
            self._check_load(query, POOL_EASY, thinking_tokens=0)
        except WorkersSaturated as saturated:
            return saturated
        return late

    def _check_load(self, query: Query, pool: Pool.ValueType, thinking_tokens: int) -> None:
        tokens = thinking_tokens + self._answer_tokens(query)
        service_s = tokens / self._pools.tokens_per_s(pool, query.model)
        work = Work(
            tokens=tokens,
            service_s=service_s + self._config.answer_reserve_s,
            left_s=self.left_s(query),
        )
        after_s = admission.retry_after_s(work, self._pools.load(pool, query.model), self._bounds)
        if after_s is not None:
            raise WorkersSaturated(
                f"the workers have too much to do; {admission.in_words(after_s)}", after_s
            )

    def _affordable(
        self, query: Query, pool: Pool.ValueType, wait_s: float, spent_tokens: int
    ) -> int:
        affordable = affordable_tokens(
            left_s=self.left_s(query) - wait_s,
            tokens_per_s=self._pools.tokens_per_s(pool, query.model),
            reserve_tokens=self._answer_tokens(query),
            reserve_s=self._config.answer_reserve_s,
        )
        return affordable if affordable < 0 else spent_tokens + affordable

    def _answer_tokens(self, query: Query) -> int:
        return min(query.max_answer_tokens, self._config.answer_reserve_tokens)
