"""What the router does when there is more work than it can do. Pure: no I/O, no clock.

Queues are bounded by predicted work: a pool's queue is as long as what waits there is predicted to
take. Half full, the largest tier of the pool is closed, and what was meant for it gets the largest
open one below; three quarters full, the next. Full, requests are refused with a time to come back.
A request that would not be done by its deadline is refused too. How long it takes is a quantile
near the maximum: admitted by the mean, most would be late as soon as the queue is long.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ponder.v1.budget_pb2 import POOL_EASY, TIER_SIMPLE, Pool, Tier
from router.tiers import TIERS, TierTable

SERVICE_QUANTILE: Final = 0.99
_CLOSE_LARGEST_AT: Final = 0.5
_CLOSE_OTHERS_AT: Final = 0.75
# Thinking work that shrinks into the easy pool leaves the rest of that pool's queue alone.
_FLOOR: Final = 0.5
_SHORTEST_RETRY_S: Final = 0.1
RETRY_SHARE: Final = 0.1
# So that one lost worker with a full batch (WORKER_MAX_RUNNING is 64) is replaced at once.
RETRY_RESERVE: Final = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLoad:
    """What a pool has to do. `slots`: requests that run at once; `in_flight`: running and waiting;
    `backlog_tokens`: predicted, of all of them; `tokens_per_s`: of all slots together, infinite
    until measured.
    """

    slots: int
    in_flight: int
    backlog_tokens: float
    tokens_per_s: float

    @property
    def wait_s(self) -> float:
        """Predicted time until a request that comes now begins.

        So many requests have to end first, each of the mean size; with all slots taken and nobody
        waiting it is one.
        """
        num_ahead = self.in_flight + 1 - self.slots
        if not self.slots or num_ahead <= 0:
            return 0.0
        return num_ahead * self.backlog_tokens / self.in_flight / self.tokens_per_s


Loads = Mapping[Pool.ValueType, PoolLoad]
"""Of both pools."""


def closed_tiers(loads: Loads, tiers: TierTable, max_queue_s: float) -> frozenset[Tier.ValueType]:
    """The tiers that nobody gets now. Never simple.

    A pool is not relieved at the cost of the easy one's own work: where that has less than its
    floor left, what belongs to the thinking pool waits there, or is refused.
    """
    fullness = {pool: load.wait_s / max_queue_s for pool, load in loads.items()}
    may_move = fullness[POOL_EASY] < _FLOOR
    closed: set[Tier.ValueType] = set()
    for pool, full in fullness.items():
        largest, *others = [tier for tier in reversed(TIERS) if tiers.pool(tier) == pool]
        if full >= _CLOSE_LARGEST_AT:
            closed.add(largest)
        if full >= _CLOSE_OTHERS_AT and (pool == POOL_EASY or may_move):
            closed.update(others)
    return frozenset(closed - {TIER_SIMPLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a request asks of its pool: `service_s` is near the longest that it may take."""

    service_s: float
    left_s: float


def retry_after_s(work: Work, load: PoolLoad, max_queue_s: float) -> float | None:
    """After which time a refused request should come again; None: it is admitted.

    Who would be late on an idle pool too is admitted: the load has no part in it.
    """
    excess_s = load.wait_s - max_queue_s
    if work.service_s <= work.left_s:
        excess_s = max(excess_s, load.wait_s + work.service_s - work.left_s)
    return max(excess_s, _SHORTEST_RETRY_S) if excess_s > 0.0 else None


class RetryBudget:
    """Lets retries be a share of the requests, so that a failure of everything does not multiply
    the load by more than 1 + RETRY_SHARE. Source: the retry budgets of Finagle.

    Retries are never more than RETRY_RESERVE + RETRY_SHARE times the requests.
    """

    def __init__(self) -> None:
        self._balance = RETRY_RESERVE

    def note_request(self) -> None:
        """A request began."""
        self._balance = min(RETRY_RESERVE, self._balance + RETRY_SHARE)

    def take(self) -> bool:
        """Whether one more retry is allowed; it is counted."""
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True


def in_words(retry_after_s: float) -> str:
    """For the caller: whole seconds, at least one."""
    seconds = max(1, math.ceil(retry_after_s))
    return f"try again in {seconds} second{'s' if seconds > 1 else ''}"
