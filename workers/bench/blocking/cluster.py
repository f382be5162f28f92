"""A cluster in simulated time: jobs arrive, are routed, run on workers, escalate and end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

import numpy as np

from workers.bench.blocking.jobs import Floats, Ints, Jobs
from workers.bench.blocking.routing import (
    MAX_DURATION_S,
    Burden,
    Decision,
    Routing,
    WorkerView,
)
from workers.bench.blocking.worker import Script, SimulatedWorker, request_of
from workers.engine.errors import QueueFull
from workers.engine.request import EngineOutput, EngineRequest, FinishReason

Progress = Callable[[int], None]
_REPORT_EVERY = 1_000
_STREAM_S = 0.08  # about 16 tokens, of which a chunk of streamed thinking has so many
_UNMEASURED = (float("-inf"), Burden())


@dataclass(frozen=True, slots=True)
class Served:
    """One entry per job: when it was answered (NaN: it was not) and what it thought; and of all."""

    finish_s: Floats
    thinking_tokens: Ints
    num_segments: Ints
    num_preemptions: int
    computed_tokens: int


@dataclass(slots=True)
class _Run:
    """A job between its arrival and its end. `holder` is the worker that has it, or had it last."""

    choice: Decision
    thought_tokens: int = 0
    holder: WorkerView | None = None
    must_answer: bool = False  # there is no tier above for it


class Cluster:
    """`run` once."""

    def __init__(
        self,
        workers: Sequence[SimulatedWorker],
        routing: Routing,
        jobs: Jobs,
        deadline_s: Floats | None = None,
    ) -> None:
        """The views of `routing` name the workers by index. A job that is not answered at its
        deadline is aborted: `deadline_s` (jobs,) counts as its arrival does.
        """
        self._workers = workers
        self._routing = routing
        self._jobs = jobs
        self._rows = jobs.rows.tolist()
        self._scripts = list(map(Script, jobs.need_tokens.tolist(), jobs.answer_tokens.tolist()))
        self._prompt_tokens = jobs.prompt_tokens.tolist()
        self._events: list[tuple[float, int]] = []
        self._now_s = 0.0
        self._runs: list[_Run | None] = [None] * len(jobs)
        self._held: list[dict[int, _Run]] = [{} for _ in workers]
        self._burdens: list[tuple[float, Burden]] = [_UNMEASURED] * len(workers)
        for view in routing.views:
            view.measure = partial(self._burden, view.index)
        self._deadline_s = None if deadline_s is None else deadline_s.tolist()
        self._finish_s = np.full(len(jobs), np.nan)
        self._thinking_tokens = np.zeros(len(jobs), np.int64)
        self._num_segments = np.zeros(len(jobs), np.int64)

    def run(self, progress: Progress = lambda done: None) -> Served:
        """Until every job has ended."""
        for job, arrival_s in enumerate(self._jobs.arrival_s.tolist()):
            self._run_until(arrival_s)
            self._arrive(job, arrival_s)
            if job % _REPORT_EVERY == 0:
                progress(job)
        self._run_until(float("inf"))
        return Served(
            finish_s=self._finish_s,
            thinking_tokens=self._thinking_tokens,
            num_segments=self._num_segments,
            num_preemptions=sum(w.scheduler.num_preemptions for w in self._workers),
            computed_tokens=sum(w.num_computed_tokens for w in self._workers),
        )

    def _run_until(self, until_s: float) -> None:
        events, workers = self._events, self._workers
        while events and events[0][0] <= until_s:
            now_s, index = heappop(events)
            self._now_s = now_s
            if index < 0:
                self._give_up(-1 - index, now_s)
                continue
            worker = workers[index]
            if worker.next_s != now_s:  # its steps ended elsewhere than was foreseen
                continue
            outputs = worker.run()
            self._note(index)
            for output in outputs:
                self._leave(int(output.request_id))
            for output in outputs:
                self._end_segment(output, now_s)

    def _note(self, index: int) -> None:
        next_s = self._workers[index].next_s
        if next_s is not None:
            heappush(self._events, (next_s, index))

    def _arrive(self, job: int, now_s: float) -> None:
        self._now_s = now_s
        choice = self._routing.decide(self._rows[job], self._left_s(job))
        if choice is None:
            return
        self._runs[job] = _Run(choice)
        self._send(job, now_s)
        if self._deadline_s is not None:
            heappush(self._events, (self._deadline_s[job], -1 - job))

    def _left_s(self, job: int) -> float:
        return MAX_DURATION_S if self._deadline_s is None else self._deadline_s[job] - self._now_s

    def _give_up(self, job: int, now_s: float) -> None:
        run = self._runs[job]
        if run is not None and run.holder is not None:
            self._workers[run.holder.index].abort(str(job), now_s)
            self._note(run.holder.index)
            self._leave(job)
        self._runs[job] = None

    def _burden(self, index: int) -> Burden:
        """As of the last thinking that was streamed from the worker."""
        measured_s, burden = self._burdens[index]
        if self._now_s - measured_s < _STREAM_S:
            return burden
        held = self._held[index].items()
        burden = sum((self._burden_of(index, job, run) for job, run in held), Burden())
        self._burdens[index] = (self._now_s, burden)
        return burden

    def _burden_of(self, index: int, job: int, run: _Run) -> Burden:
        thought = self._workers[index].thought_tokens(str(job), self._now_s)
        return self._routing.burden_of(self._rows[job], run.choice, thought)

    def _send(self, job: int, now_s: float) -> None:
        """Start a segment at the worker that the router chooses, or refuse the job."""
        run = self._runs[job]
        assert run is not None
        full: frozenset[int] = frozenset()
        while view := self._routing.find(run.choice, run.thought_tokens, run.holder, full):
            request = self._request(job, run, view)
            try:
                self._workers[view.index].add(request, self._scripts[job], now_s)
            except QueueFull:
                full |= {view.index}
                continue
            self._begin(job, run, view)
            return
        self._runs[job] = None

    def _request(self, job: int, run: _Run, view: WorkerView) -> EngineRequest:
        """Where the worker's cap is below the budget, it ends there and goes on elsewhere."""
        budget = run.choice.budget_tokens
        return request_of(
            job,
            self._prompt_tokens[job],
            run.thought_tokens,
            min(budget, view.cap_tokens),
            self._routing.expected_need(self._rows[job]),
            self._scripts[job].answer_tokens,
            answers=budget <= view.cap_tokens and self._may_not_rise(job, run),
        )

    def _may_not_rise(self, job: int, run: _Run) -> bool:
        if run.must_answer:
            return True
        return self._routing.raised(run.choice, run.thought_tokens, self._left_s(job)) is None

    def _begin(self, job: int, run: _Run, view: WorkerView) -> None:
        run.holder = view
        view.in_flight += 1
        self._held[view.index][job] = run
        self._burdens[view.index] = _UNMEASURED
        self._num_segments[job] += 1
        self._note(view.index)

    def _leave(self, job: int) -> None:
        run = self._runs[job]
        assert run is not None
        assert run.holder is not None
        run.holder.in_flight -= 1
        del self._held[run.holder.index][job]
        self._burdens[run.holder.index] = _UNMEASURED

    def _end_segment(self, output: EngineOutput, now_s: float) -> None:
        job = int(output.request_id)
        run, finished = self._runs[job], output.finished
        assert run is not None
        assert finished is not None
        run.thought_tokens = finished.usage.thinking_tokens
        if finished.reason is FinishReason.EXHAUSTED:
            self._go_on(job, run, now_s)
            return
        self._finish_s[job] = now_s
        self._thinking_tokens[job] = run.thought_tokens
        self._runs[job] = None

    def _go_on(self, job: int, run: _Run, now_s: float) -> None:
        """One tier up if the budget is spent, else from a worker that only lent a slot."""
        if run.thought_tokens >= run.choice.budget_tokens:
            raised = self._routing.raised(run.choice, run.thought_tokens, self._left_s(job))
            run.must_answer = raised is None
            run.choice = raised or run.choice
        self._send(job, now_s)
