"""Which worker takes a segment. Pure: no I/O, no clock; the draws come from outside.

Two of the pool's workers are drawn, and the one with less predicted work takes it: the power of two
choices (Mitzenmacher, IEEE TPDS 12 (2001)). The best of all, chosen by several routers from
the same reports, would be the same worker for all of them.

The pools are a soft partition. A pool whose workers are all full borrows an idle slot of the other
one. Where nobody is idle, a request goes where those who have outlived their probation give way to
it (workers/engine/priority.py), its own pool first: it begins at once, and they keep their floor.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TypeVar

from router.burden import Burden

LENDING_SHARE: Final = 0.5
"""A worker without probation lends while less than this share of its slots is taken."""
_FLOOR_SHARE: Final = 0.125  # the default of WORKER_DEMOTED_FLOOR


class Candidate(Protocol):
    """A live worker that may take the segment, as it is seen at this moment.

    `in_flight`: requests running and waiting there. `slots`: how many run at once; 0: not known.
    `burden`: what those requests are predicted to take. `probation_tokens`: of each request so many
    run ahead of others; 0: none do. `demoted_slots`: kept for those others. `is_ejected`: only a
    last resort.
    """

    @property
    def in_flight(self) -> int: ...

    @property
    def slots(self) -> int: ...

    @property
    def burden(self) -> Burden: ...

    @property
    def probation_tokens(self) -> int: ...

    @property
    def demoted_slots(self) -> int: ...

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

    The request has thought `prefix_tokens`. `holder` has computed them; it is kept where that pays.
    """
    if not home:
        home, away = away, home
    chosen = _without_holder(home, away, rng, prefix_tokens)
    if chosen is None or holder is None or not _may_keep(holder, home, away):
        return chosen
    if is_full(holder):
        # With an idle slot nowhere, to compute the prefix again would gain nothing.
        return holder if is_full(chosen) and gives_way(holder, prefix_tokens) else chosen
    return holder if _pays(holder, chosen, prefix_tokens) else chosen


def is_full(worker: Candidate) -> bool:
    """Whether a request would wait there, or others would have to give way."""
    return 0 < worker.slots <= worker.in_flight


def gives_way(worker: Candidate, prefix_tokens: int) -> bool:
    """Whether a request that has thought so much would begin there at once though it is full."""
    is_young = prefix_tokens < worker.probation_tokens
    return is_young and worker.burden.num_young < worker.slots - worker.demoted_slots


def usual_demoted_slots(slots: int) -> int:
    """Of a worker that does not tell how many it keeps for requests past their probation."""
    return math.ceil(_FLOOR_SHARE * slots)


def lendable_slots(worker: Candidate) -> int:
    """How many requests of the other pool it would take now while that has workers of its own."""
    share = 1.0 if worker.probation_tokens else LENDING_SHARE
    lent = max(0, math.ceil(share * worker.slots) - worker.in_flight)
    return 0 if worker.is_ejected else lent


def _without_holder(
    home: Sequence[C], away: Sequence[C], rng: random.Random, prefix_tokens: int
) -> C | None:
    groups = _groups(home, away, prefix_tokens)
    found = next((workers for workers in groups if workers), None)
    return None if found is None else _least_burdened(found, rng)


def _groups(home: Sequence[C], away: Sequence[C], prefix_tokens: int) -> Iterator[Sequence[C]]:
    """The better ones first. Whoever is ejected is a last resort."""
    sound, others = _sound(home), _sound(away)
    yield [worker for worker in sound if not is_full(worker)]
    yield [worker for worker in others if lendable_slots(worker)]
    yield [worker for worker in sound if gives_way(worker, prefix_tokens)]
    yield [worker for worker in others if gives_way(worker, prefix_tokens)]
    yield sound
    yield home


def _sound(workers: Sequence[C]) -> Sequence[C]:
    return [worker for worker in workers if not worker.is_ejected]


def _least_burdened(workers: Sequence[C], rng: random.Random) -> C:
    """Of two that are drawn, the one with less ahead of a new request."""
    return min(rng.sample(workers, min(2, len(workers))), key=_ahead)


def _ahead(worker: Candidate) -> tuple[float, float]:
    """While a slot is idle, what makes the steps long counts; then, who is not given way to."""
    burden = worker.burden
    if is_full(worker) and worker.probation_tokens:
        return burden.num_young / worker.slots, burden.young_tokens
    return burden.tokens, worker.in_flight


def _may_keep(holder: C, home: Sequence[C], away: Sequence[C]) -> bool:
    if holder.is_ejected:
        return False
    return holder in home or (holder in away and lendable_slots(holder) > 0)


def _pays(holder: Candidate, other: Candidate, prefix_tokens: int) -> bool:
    """Whether computing the prefix anew costs more than the larger burden.

    A token of prefill is taken to cost as much as one that another request decodes in the same
    batch: both are a row of a step.
    """
    return holder.burden.tokens <= other.burden.tokens + prefix_tokens
