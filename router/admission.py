"""What the router does when there is more work than it can do. Pure: no I/O, no clock.

Queues are bounded by predicted work. A pool's queue is as long as what waits there is predicted to
take. Half full, the largest tier of the pool is closed, and what was meant for it gets the largest
open one below; three quarters full, the next. Full, requests that need it are refused with a time
to come back, as are those that would not be done by their deadline. How long one takes is a
quantile near the maximum: admitted by the mean, most would be late as soon as the queue is long.

A request on probation runs ahead of all that have outlived theirs (workers/engine/priority.py), so
what it waits for is only what else is on probation: the line of the young. That line is kept short,
for all alike. Were those with patience to wait in it for longer, they would fill it, and whoever
has little time would never be admitted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, TIER_SIMPLE, Pool, Tier
from router.tiers import TIERS, TierTable

SERVICE_QUANTILE: Final = 0.99
_CLOSE_LARGEST_AT: Final = 0.5
_CLOSE_OTHERS_AT: Final = 0.75
# Thinking work that shrinks into the easy pool leaves the rest of that pool's queue alone.
_FLOOR: Final = 0.5
_SHORTEST_RETRY_S: Final = 0.1
_LINE_SHARE: Final = 0.5
"""Of the time that is left, at most so much is spent in the line of the young."""
RETRY_SHARE: Final = 0.1
# So that one lost worker with a full batch (WORKER_MAX_RUNNING is 64) is replaced at once.
RETRY_RESERVE: Final = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLoad:
    """What a pool has to do. `slots`: requests that run at once; `in_flight`: running and waiting;
    `backlog_tokens`: predicted, of all of them; `tokens_per_s`: of all slots together, infinite
    until measured. `num_young` of them are on probation, and `young_tokens` is what those are
    predicted to take until it ends. `probation_tokens`: how long one lasts; 0: nobody has one.
    """

    slots: int
    in_flight: int
    backlog_tokens: float
    tokens_per_s: float
    num_young: int
    young_tokens: float
    probation_tokens: int

    @property
    def wait_s(self) -> float:
        """Predicted time until a request that comes now would begin if it had no probation."""
        return self._wait_s(self.in_flight, self.backlog_tokens)

    @property
    def line_s(self) -> float:
        """Predicted time until a request that comes now begins."""
        return self._wait_s(self.num_young, self.young_tokens)

    def wait_of_s(self, tokens: float) -> float:
        """What a request of so many tokens waits in all."""
        return self.line_s if tokens <= self.probation_tokens else self.wait_s

    def _wait_s(self, num_requests: int, tokens: float) -> float:
        """So many requests have to end first, each of the mean size; with all slots taken and
        nobody waiting it is one.
        """
        num_ahead = num_requests + 1 - self.slots
        if not self.slots or num_ahead <= 0:
            return 0.0
        return num_ahead * tokens / num_requests / self.tokens_per_s


Loads = Mapping[Pool.ValueType, PoolLoad]
"""Of both pools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Longest queue of a pool, and longest line of the young in it."""

    queue_s: float
    line_s: float

    def fullness(self, load: PoolLoad, tokens: float) -> float:
        """From 0, empty, to 1, full, and beyond: of what a request of so many tokens waits in."""
        if tokens <= load.probation_tokens:
            return load.line_s / self.line_s
        return load.wait_s / self.queue_s


def closed_tiers(loads: Loads, tiers: TierTable, bounds: Bounds) -> frozenset[Tier.ValueType]:
    """The tiers that nobody gets now. Never simple.

    A pool is not relieved at the cost of the easy one's own work: where that has less than its
    floor left, what belongs to the thinking pool waits there, or is refused.
    """
    largest = {POOL_EASY: tiers.easy_cap, POOL_THINKING: tiers.largest_budget}
    fullness = {pool: bounds.fullness(load, largest[pool]) for pool, load in loads.items()}
    may_move = fullness[POOL_EASY] < _FLOOR
    closed: set[Tier.ValueType] = set()
    for pool, full in fullness.items():
        last, *others = [tier for tier in reversed(TIERS) if tiers.pool(tier) == pool]
        if full >= _CLOSE_LARGEST_AT:
            closed.add(last)
        if full >= _CLOSE_OTHERS_AT and (pool == POOL_EASY or may_move):
            closed.update(others)
    return frozenset(closed - {TIER_SIMPLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a request asks of its pool: `tokens` and `service_s` are near the most it may take."""

    tokens: float
    service_s: float
    left_s: float


def retry_after_s(work: Work, load: PoolLoad, bounds: Bounds) -> float | None:
    """After which time a refused request should come again; None: it is admitted.

    Who would be late on an idle pool too is admitted: the load has no part in it.
    """
    wait_s = load.wait_of_s(work.tokens)
    excess_s = max(load.line_s - bounds.line_s, wait_s - bounds.queue_s)
    if work.service_s <= work.left_s:
        longest_s = _LINE_SHARE * work.left_s
        late_s = wait_s + work.service_s - work.left_s
        excess_s = max(excess_s, load.line_s - longest_s, late_s)
    return max(excess_s, _SHORTEST_RETRY_S) if excess_s > 0.0 else None


def affordable_in_line(
    load: PoolLoad, affordable: Callable[[float], int], answer_tokens: int
) -> int:
    """Thinking that the deadline leaves time for with this load. `affordable`: that there would be
    after so many seconds of waiting.

    Within its probation, in which the answer has to fit, a request waits in the line only.
    """
    behind_all = affordable(load.wait_s)
    if not load.probation_tokens:
        return behind_all
    return max(behind_all, min(affordable(load.line_s), load.probation_tokens - answer_tokens))


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
