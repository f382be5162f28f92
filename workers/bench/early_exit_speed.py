"""How much of the saved thinking becomes speed: latency at low load, throughput at saturation.

Times are the processor's own (time.process_time), because machines are shared; those of the wall
clock stand beside them. Both subjects take turns, so that what disturbs one disturbs the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Final

from workers.bench.early_exit_figures import BASELINE, PONDER, Record
from workers.bench.early_exit_run import Bench, Progress
from workers.engine import Controller, EngineConfig, EngineRequest, LLMEngine
from workers.rollouts import run_requests

# Trials have rows beside those of the requests. A machine whose time goes by the row could give
# these to more requests instead: that is a control.
_MORE_ROWS: Final = "no exit, rows of trials for requests"
_ALONE_ROWS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request served alone: its seconds by the processor and by the wall, and its record."""

    cpu_s: float
    wall_s: float
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyFigures:
    """The baseline against ponder on the same requests, one at a time.

    `p50_reduction` and `mean_reduction` are shares of the baseline's CPU seconds. `net_saved` is
    that of all tokens, `p50_net_saved` that of the median request.
    """

    base_p50_s: float
    ponder_p50_s: float
    p50_reduction: float
    mean_reduction: float
    wall_p50_reduction: float
    net_saved: float
    p50_net_saved: float

    @property
    def figures(self) -> dict[str, float]:
        """By the report's names: the median over the saving of all tokens of these requests."""
        return {"latency_over_saving": _over(self.p50_reduction, self.net_saved)}

    @property
    def controls(self) -> dict[str, float]:
        """The same with like over like, and what it was computed from.

        Savings of all tokens are those of the longest questions, the median is not: only mean
        over mean, and median over median, say what the engine makes of the tokens saved.
        """
        return {
            "latency_over_saving_mean": _over(self.mean_reduction, self.net_saved),
            "latency_over_saving_median": _over(self.p50_reduction, self.p50_net_saved),
            "latency_p50_s_no_exit": self.base_p50_s,
            "latency_p50_s_ponder": self.ponder_p50_s,
            "latency_p50_reduction": self.p50_reduction,
            "latency_p50_reduction_wall": self.wall_p50_reduction,
            "latency_mean_reduction": self.mean_reduction,
            "latency_net_saved": self.net_saved,
            "latency_net_saved_median": self.p50_net_saved,
        }


class Saturation:
    """One engine with more requests than it can run, until none of them waits any more."""

    def __init__(self, engine: LLMEngine, requests: Sequence[EngineRequest]) -> None:
        self.finished = 0
        self.cpu_s = 0.0
        self.wall_s = 0.0
        self._engine = engine
        for request in requests:
            engine.add_request(request)

    @property
    def is_full(self) -> bool:
        """Whether a request still waits."""
        return bool(self._engine.scheduler.waiting)

    @property
    def requests_per_cpu_s(self) -> float:
        return self.finished / self.cpu_s

    @property
    def requests_per_s(self) -> float:
        return self.finished / self.wall_s

    def step(self) -> None:
        """One step, timed."""
        cpu_s, wall_s = time.process_time(), time.monotonic()
        outputs = self._engine.step()
        self.cpu_s += time.process_time() - cpu_s
        self.wall_s += time.monotonic() - wall_s
        self.finished += sum(output.finished is not None for output in outputs)


def measure_latency(bench: Bench, progress: Progress) -> LatencyFigures:
    """Serve the same requests one after another by both, taking turns at who goes first."""
    served: dict[str, list[Served]] = {BASELINE: [], PONDER: []}
    for name, one in _serve_in_turns(bench):
        served[name].append(one)
    progress(f"latency of {len(served[PONDER])} requests done")
    return latency_figures(served)


def latency_figures(served: Mapping[str, list[Served]]) -> LatencyFigures:
    """From what was served by the two subjects, the same requests in the same order."""
    base, ponder = served[BASELINE], served[PONDER]
    thinking = [one.record.thinking_tokens for one in base]
    spent = [one.record.spent_tokens for one in ponder]
    return LatencyFigures(
        base_p50_s=median(one.cpu_s for one in base),
        ponder_p50_s=median(one.cpu_s for one in ponder),
        p50_reduction=1 - median(o.cpu_s for o in ponder) / median(o.cpu_s for o in base),
        mean_reduction=1 - mean(o.cpu_s for o in ponder) / mean(o.cpu_s for o in base),
        wall_p50_reduction=1 - median(o.wall_s for o in ponder) / median(o.wall_s for o in base),
        net_saved=1 - sum(spent) / sum(thinking),
        p50_net_saved=1 - median(spent) / median(thinking),
    )


def measure_throughput(bench: Bench, progress: Progress) -> dict[str, Saturation]:
    """Load all with the same requests; the one that used least time steps next.

    Ends for each when its queue is empty: what follows is the tail of the longest requests.
    """
    some = bench.plan.concurrency
    more = EngineConfig(model_dir=bench.model_dir, max_running=some).max_rows
    work = {
        BASELINE: _saturated(bench, None, some),
        PONDER: _saturated(bench, bench.ponder, some),
        _MORE_ROWS: _saturated(bench, None, more),
    }
    while busy := [one for one in work.values() if one.is_full]:
        min(busy, key=lambda one: one.cpu_s).step()
    progress("throughput done")
    return work


def throughput_figures(work: Mapping[str, Saturation]) -> tuple[dict[str, float], dict[str, float]]:
    """Figures and controls by the report's names."""
    base, ponder, more_rows = work[BASELINE], work[PONDER], work[_MORE_ROWS]
    figures = {"throughput_ratio": ponder.requests_per_cpu_s / base.requests_per_cpu_s}
    controls = {
        "throughput_ratio_wall": ponder.requests_per_s / base.requests_per_s,
        "throughput_ratio_more_rows": ponder.requests_per_cpu_s / more_rows.requests_per_cpu_s,
        "requests_per_cpu_s_no_exit": base.requests_per_cpu_s,
        "requests_per_cpu_s_ponder": ponder.requests_per_cpu_s,
        "requests_per_cpu_s_no_exit_more_rows": more_rows.requests_per_cpu_s,
    }
    return figures, controls


def _saturated(bench: Bench, controller: Controller | None, max_running: int) -> Saturation:
    engine = bench.engine(controller, max_running=max_running)
    questions = bench.questions("test", bench.plan.throughput_problems)
    return Saturation(engine, bench.requests(questions))


def _serve_in_turns(bench: Bench) -> Iterator[tuple[str, Served]]:
    questions = bench.questions("test", bench.plan.latency_problems)
    engines = {
        BASELINE: bench.engine(None, max_running=_ALONE_ROWS),
        PONDER: bench.engine(bench.ponder, max_running=_ALONE_ROWS),
    }
    for index, (question, request) in enumerate(
        zip(questions, bench.requests(questions), strict=True)
    ):
        for name in list(engines)[:: 1 if index % 2 else -1]:
            cpu_s, wall_s = time.process_time(), time.monotonic()
            (rollout,) = run_requests(engines[name], [request], 1)
            cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
            record = bench.record(question, request, rollout)
            yield name, Served(cpu_s=cpu_s, wall_s=wall_s, record=record)


def _over(reduction: float, saved: float) -> float:
    """NaN where nothing was saved: there is nothing that could become speed."""
    return reduction / saved if saved > 0 else math.nan
