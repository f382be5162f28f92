"""What bounds a decision at this moment: the plan, the load, and what the deadline affords."""

import time
from collections.abc import Callable

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, Pool, Tier
from router.config import RouterConfig
from router.policy import Limits, affordable_tokens
from router.pools import Pools
from router.queries import Query


class CurrentLimits:
    """Reads clock, speeds and load for the policy, which is pure."""

    def __init__(
        self,
        config: RouterConfig,
        pools: Pools,
        load_ceiling: Callable[[], Tier.ValueType | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`load_ceiling` tells the largest tier that the load allows now; None: no limit."""
        self._config = config
        self._pools = pools
        self._load_ceiling = load_ceiling
        self._clock = clock

    def left_s(self, query: Query) -> float:
        """Time until the deadline of the request; negative when it has passed."""
        return query.deadline_at_s - self._clock()

    def of(self, query: Query, spent_tokens: int = 0) -> Limits:
        """For a request that has already thought `spent_tokens`."""
        return Limits(
            entitled_tier=query.tenant.max_tier,
            load_ceiling=self._load_ceiling(),
            affordable_tokens={
                pool: self._affordable(query, pool, spent_tokens)
                for pool in (POOL_EASY, POOL_THINKING)
            },
        )

    def _affordable(self, query: Query, pool: Pool.ValueType, spent_tokens: int) -> int:
        affordable = affordable_tokens(
            left_s=self.left_s(query),
            tokens_per_s=self._pools.tokens_per_s(pool, query.model),
            reserve_tokens=min(query.max_answer_tokens, self._config.answer_reserve_tokens),
            reserve_s=self._config.answer_reserve_s,
        )
        return affordable if affordable < 0 else spent_tokens + affordable
