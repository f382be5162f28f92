"""The controls: queues of interchangeable slots, same jobs, same service. Pure.

All running jobs advance a token per step, so a job of n tokens ends when the count of steps that
have passed, a clock of its own, has gone n further. How long a step takes depends on how many run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush

import numpy as np

from workers.bench.blocking.jobs import Floats
from workers.bench.blocking.service import StepModel


class Slots:
    """`count` slots in workers of `per_worker`; jobs are spread evenly and move for nothing."""

    def __init__(self, count: int, per_worker: int, model: StepModel) -> None:
        self.count = count
        self._num_workers = max(1, count // per_worker)
        self._model = model

    def step_s(self, num_running: int) -> float:
        """Of a worker when so many jobs run in all."""
        return self._model.duration_s(-(-num_running // self._num_workers))


def fcfs(arrival_s: Floats, steps: Floats, slots: Slots) -> Floats:
    """When each job ends, first come first served. `steps` is what each takes, in steps."""
    return _Run(arrival_s, steps, slots).first_come()


def srpt(arrival_s: Floats, steps: Floats, slots: Slots) -> Floats:
    """The same when those with the fewest remaining steps run, preemption being free."""
    return _Run(arrival_s, steps, slots).shortest_remaining()


class _Run:
    def __init__(self, arrival_s: Floats, steps: Floats, slots: Slots) -> None:
        self._arrival_s = arrival_s.tolist()
        self._steps = steps.tolist()
        self._slots = slots
        self._finish_s = np.full(len(arrival_s), np.nan)
        self._running: list[tuple[float, int]] = []  # (step at which it ends, job)
        self._now_s = 0.0
        self._clock = 0.0  # steps that have passed

    def first_come(self) -> Floats:
        waiting: deque[int] = deque()

        def fill() -> None:
            while waiting and len(self._running) < self._slots.count:
                job = waiting.popleft()
                heappush(self._running, (self._clock + self._steps[job], job))

        for job, arrival_s in enumerate(self._arrival_s):
            self._advance(arrival_s, fill)
            waiting.append(job)
            fill()
        self._advance(float("inf"), fill)
        return self._finish_s

    def shortest_remaining(self) -> Floats:
        waiting: list[tuple[float, int]] = []  # (remaining steps, job)

        def fill() -> None:
            while waiting and len(self._running) < self._slots.count:
                remaining, job = heappop(waiting)
                heappush(self._running, (self._clock + remaining, job))

        for job, arrival_s in enumerate(self._arrival_s):
            self._advance(arrival_s, fill)
            heappush(waiting, (self._steps[job], job))
            fill()
            if waiting and waiting[0][0] < max(self._running)[0] - self._clock:
                self._swap(waiting)
        self._advance(float("inf"), fill)
        return self._finish_s

    def _swap(self, waiting: list[tuple[float, int]]) -> None:
        longest = max(self._running)
        self._running.remove(longest)
        heapify(self._running)
        remaining, job = heappop(waiting)
        heappush(self._running, (self._clock + remaining, job))
        heappush(waiting, (longest[0] - self._clock, longest[1]))

    def _advance(self, until_s: float, fill: Callable[[], None]) -> None:
        while self._running:
            step_s = self._slots.step_s(len(self._running))
            ends_at, job = self._running[0]
            end_s = self._now_s + (ends_at - self._clock) * step_s
            if end_s > until_s:
                self._clock += (until_s - self._now_s) / step_s
                break
            heappop(self._running)
            self._now_s, self._clock = end_s, ends_at
            self._finish_s[job] = end_s
            fill()
        self._now_s = until_s
