"""Looks for the fewest workers that keep the targets. Every number of them gets the same jobs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from workers.bench.blocking.jobs import Jobs, Mix
from workers.bench.blocking.routing import predicted_easy
from workers.bench.blocking.scenario import Result, Setting, Shape, ponder
from workers.bench.blocking.service import StepModel
from workers.bench.sizing.past import Past

MOST_REFUSED: Final = 0.005
"""Share of the requests that may be refused, and that may be cut short, for the load."""
_MOST_TIMES: Final = 4
"""So many times the workers that the load alone asks for are tried, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Requests drawn from the past, that arrive at random at `rate` a second."""

    past: Past
    rate: float
    num_jobs: int
    seed: int = 1

    def jobs(self) -> Jobs:
        """The same requests at every rate, closer together at a higher one."""
        rng = np.random.default_rng(self.seed)
        outcomes = self.past.outcomes
        rows = rng.integers(len(outcomes.need_tokens), size=self.num_jobs)
        return Jobs(
            arrival_s=np.cumsum(rng.exponential(1.0, self.num_jobs)) / self.rate,
            rows=rows,
            need_tokens=outcomes.need_tokens[rows],
            is_hard=outcomes.is_hard[rows],
            prompt_tokens=self.past.prompt_tokens[rows],
            answer_tokens=self.past.answer_tokens[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What one worker does: so many requests at once, at this speed."""

    slots: int
    model: StepModel

    def seconds_of(self, jobs: Jobs) -> float:
        """That one worker with a full batch spends on the jobs."""
        sampled = jobs.sampled_tokens.sum() / self.model.slot_tokens_per_s(self.slots) / self.slots
        return float(sampled + jobs.prompt_tokens.sum() * self.model.prefill_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Easy p99 slowdown: response by response alone on an idle worker. Load: share of capacity."""

    easy_p99_slowdown: float
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """So many workers, and what the requests then found."""

    easy: int
    thinking: int
    load: float
    result: Result
    keeps: bool


def simulated(demand: Demand, worker: Worker, easy: int, thinking: int) -> Result:
    """By the router's policy and the workers' scheduler, in simulated time."""
    jobs = demand.jobs()
    workers = easy + thinking
    setting = Setting(
        outcomes=demand.past.outcomes,
        mix=Mix(worker.seconds_of(jobs) / len(jobs) * demand.rate / workers),
        shape=Shape(workers, worker.slots, easy),
        model=worker.model,
        count=demand.num_jobs,
        seed=demand.seed,
    )
    return ponder(setting, jobs)


@dataclass(slots=True)
class Search:
    """`find` once; `tried` has every candidate, in the order of trying. `simulate` tells what the
    requests find with so many easy and thinking workers.
    """

    demand: Demand
    worker: Worker
    targets: Targets
    simulate: Callable[[Demand, Worker, int, int], Result] = simulated
    report: Callable[[Candidate], None] = lambda _: None
    tried: list[Candidate] = field(default_factory=list)

    def find(self) -> Candidate | None:
        """The fewest workers that keep the targets; None: more did not help.

        More and more are tried, then the gap to the last that were too few is halved.
        """
        least = self._least()
        too_few, found = least - 1, None
        for count in _growing(least, _MOST_TIMES * least):
            if found := self._try(count):
                break
            too_few = count
        while found and found.easy + found.thinking - too_few > 1:
            middle = (found.easy + found.thinking + too_few) // 2
            better = self._try(middle)
            if better is None:
                too_few = middle
            found = better or found
        return found

    def _least(self) -> int:
        """What the load alone asks for; at least one of each pool."""
        return max(2, math.ceil(self._busy_workers() / self.targets.load - 1e-9))

    def _busy_workers(self) -> float:
        """How many workers the requests keep busy."""
        jobs = self.demand.jobs()
        return self.worker.seconds_of(jobs) / len(jobs) * self.demand.rate

    def _try(self, count: int) -> Candidate | None:
        """With the pools as large as the work that is predicted for them, or one more easy worker
        in place of a thinking one.
        """
        share = easy_share(self.demand.past)
        even = min(count - 1, max(1, round(count * share)))
        for easy in dict.fromkeys((even, min(count - 1, even + 1))):
            candidate = self._candidate(easy, count - easy)
            self.tried.append(candidate)
            self.report(candidate)
            if candidate.keeps:
                return candidate
        return None

    def _candidate(self, easy: int, thinking: int) -> Candidate:
        load = self._busy_workers() / (easy + thinking)
        result = self.simulate(self.demand, self.worker, easy, thinking)
        keeps = (
            result.easy_p99_slowdown <= self.targets.easy_p99_slowdown
            and max(result.refused, result.cut) <= MOST_REFUSED
        )
        return Candidate(easy=easy, thinking=thinking, load=load, result=result, keeps=keeps)


def easy_share(past: Past) -> float:
    """Of the sampled tokens, those of requests that the policy sends to the easy pool."""
    work = past.outcomes.need_tokens + past.answer_tokens
    return float(work[predicted_easy(past.outcomes)].sum() / work.sum())


def _growing(first: int, last: int) -> Iterator[int]:
    """first, then 1, 2, 4 ... more, and last."""
    count, step = first, 1
    while count < last:
        yield count
        count, step = count + step, 2 * step
    yield last
