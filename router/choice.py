"""Which worker takes a segment. Pure: no I/O, no clock; the draws come from outside.

Two of the pool's workers are drawn, and the one with less predicted work takes it: the power of two
choices (Mitzenmacher, IEEE TPDS 12 (2001)). The best of all, chosen by several routers from
the same reports, would be the same worker for all of them.

The pools are a soft partition. A pool whose workers are all full borrows a worker of the other one
that is idle enough, so that what is lent never queues there, and leaves the lender's own work the
rest of the slots.
"""

import math
import random
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

LENDING_SHARE: Final = 0.5
"""A worker lends while less than this share of its slots is taken: the rest is its pool's floor."""


class Candidate(Protocol):
    """A live worker that may take the segment, as it is seen at this moment.

    `in_flight`: requests running and waiting there. `slots`: how many run at once; 0: not known.
    `burden_tokens`: predicted tokens of those requests. `is_ejected`: only a last resort.
    """

    @property
    def in_flight(self) -> int: ...

    @property
    def slots(self) -> int: ...

    @property
    def burden_tokens(self) -> float: ...

    @property
    def is_ejected(self) -> bool: ...


C = TypeVar("C", bound=Candidate)


def choose(
    home: Sequence[C],
    away: Sequence[C],
    rng: random.Random,
    *,
    holder: C | None = None,
    prefix_tokens: int = 0,
) -> C | None:
    """One of `home`, the workers of the request's own pool, or of `away`; None when there is none.

    Away is chosen when home is empty, and lends when all at home are full or ejected. `holder` has
    computed the first `prefix_tokens` of the request; it is kept where that pays.
    """
    chosen = _least_burdened(_fit(home) or _fit(away), rng)
    if chosen is None:
        return None
    if home and (is_full(chosen) or chosen.is_ejected):
        lenders = [worker for worker in away if can_lend(worker)]
        chosen = _least_burdened(lenders, rng) or chosen
    if holder is not None and _may_keep(holder, home, away):
        return holder if _pays(holder, chosen, prefix_tokens) else chosen
    return chosen


def is_full(worker: Candidate) -> bool:
    """Whether a request would wait there."""
    return 0 < worker.slots <= worker.in_flight


def can_lend(worker: Candidate) -> bool:
    """Whether it may take work of the other pool while that has workers of its own."""
    return not worker.is_ejected and worker.in_flight < LENDING_SHARE * worker.slots


def lendable_slots(worker: Candidate) -> int:
    """How many requests of the other pool it would take now."""
    return (
        max(0, math.ceil(LENDING_SHARE * worker.slots) - worker.in_flight)
        if can_lend(worker)
        else 0
    )


def _fit(workers: Sequence[C]) -> Sequence[C]:
    """Those that can begin at once; else those that are not ejected; else all."""
    sound = [worker for worker in workers if not worker.is_ejected]
    return [worker for worker in sound if not is_full(worker)] or sound or workers


def _least_burdened(workers: Sequence[C], rng: random.Random) -> C | None:
    """Of two that are drawn."""
    if not workers:
        return None
    drawn = rng.sample(workers, min(2, len(workers)))
    return min(drawn, key=lambda worker: (worker.burden_tokens, worker.in_flight))


def _may_keep(holder: C, home: Sequence[C], away: Sequence[C]) -> bool:
    if holder.is_ejected or is_full(holder):
        return False
    return holder in home or (holder in away and (not home or can_lend(holder)))


def _pays(holder: Candidate, other: Candidate, prefix_tokens: int) -> bool:
    """Whether computing the prefix anew costs more than the larger burden.

    A token of prefill is taken to cost as much as one that another request decodes in the same
    batch: both are a row of a step.
    """
    return holder.burden_tokens <= other.burden_tokens + prefix_tokens
