"""One policy on one stream of jobs: what its requests waited, in figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from workers.bench.blocking import controls
from workers.bench.blocking.cluster import Cluster
from workers.bench.blocking.jobs import Floats, Ints, Jobs, Mix, Outcomes, draw_jobs
from workers.bench.blocking.routing import (
    Routing,
    WorkerView,
    predicted_easy,
)
from workers.bench.blocking.service import StepModel
from workers.bench.blocking.worker import (
    LONGEST_ANSWER,
    MAX_MODEL_TOKENS,
    SimulatedWorker,
    worker_config,
)

EASY_CAP_TOKENS, ANY_TOKENS = 500, 10_000
WARM_UP_SHARE: Final = 0.2
"""Of the jobs, the first: the cluster is empty when they come."""

_SHUFFLE_SEED: Final = 1_000
_EASY_DEADLINE_S, _HARD_DEADLINE_S = 5.0, 50.0
"""About ten times what a mean request of the class takes alone."""


@dataclass(frozen=True, slots=True)
class Shape:
    """So many workers of so many slots, `easy` of them in the easy pool."""

    workers: int
    slots: int
    easy: int

    @property
    def num_slots(self) -> int:
        return self.workers * self.slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all policies are compared on. `deadlines`: jobs are given up, 5 s easy and 50 s hard."""

    outcomes: Outcomes
    mix: Mix
    shape: Shape
    model: StepModel
    count: int
    seed: int
    deadlines: bool = False

    def jobs(self) -> Jobs:
        slots = self.shape.slots
        tokens_per_s = self.shape.num_slots * self.model.slot_tokens_per_s(slots)
        return draw_jobs(self.outcomes, self.mix, tokens_per_s, self.count, self.seed)


@dataclass(frozen=True, slots=True)
class Result:
    """Slowdown is response by response alone on an idle worker; both of answered requests.

    `preemptions`, `cut` (answered with less thinking than it would have taken, for the load) and
    `refused` (not answered, or not in time; `easy_refused`: of the easy ones) are by job; `goodput`
    are requests a second that were answered, uncut and in time.
    """

    easy_p50_slowdown: float
    easy_p99_slowdown: float
    mean_s: float
    hard_p99_s: float
    goodput: float
    preemptions: float = 0.0
    cut: float = 0.0
    refused: float = 0.0
    easy_refused: float = 0.0


Policy = Callable[[Setting, Jobs], Result]


def fcfs(setting: Setting, jobs: Jobs) -> Result:
    return result(setting, jobs, controls.fcfs(jobs.arrival_s, _steps(jobs), _slots(setting)))


def srpt(setting: Setting, jobs: Jobs) -> Result:
    return result(setting, jobs, controls.srpt(jobs.arrival_s, _steps(jobs), _slots(setting)))


def split_perfect(setting: Setting, jobs: Jobs) -> Result:
    return _split(setting, jobs, ~setting.outcomes.is_hard, ~jobs.is_hard)


def split_classifier(setting: Setting, jobs: Jobs) -> Result:
    looks_easy = predicted_easy(setting.outcomes)
    return _split(setting, jobs, looks_easy, looks_easy[jobs.rows])


def ponder(setting: Setting, jobs: Jobs) -> Result:
    return _ponder(setting, jobs, EASY_CAP_TOKENS)


def ponder_uncapped(setting: Setting, jobs: Jobs) -> Result:
    return _ponder(setting, jobs, ANY_TOKENS)


def ponder_open(setting: Setting, jobs: Jobs) -> Result:
    """Without the cap, and in the easy pool those past their probation keep no slot."""
    return _ponder(setting, jobs, ANY_TOKENS, demoted_floor=0.0)


def ponder_shuffled(setting: Setting, jobs: Jobs) -> Result:
    return ponder(setting, jobs.with_predictions_shuffled(_SHUFFLE_SEED + setting.seed))


POLICIES: Final[Mapping[str, Policy]] = {
    "fcfs": fcfs,
    "split_classifier": split_classifier,
    "split_perfect": split_perfect,
    "srpt": srpt,
    "ponder": ponder,
    "ponder_uncapped": ponder_uncapped,
    "ponder_open": ponder_open,
    "ponder_shuffled": ponder_shuffled,
}


def run(policy: str, setting: Setting) -> Result:
    """The figures of a policy; the same setting gives every policy the same jobs."""
    return POLICIES[policy](setting, setting.jobs())


def result(
    setting: Setting,
    jobs: Jobs,
    finish_s: Floats,
    thought_tokens: Ints | None = None,
    preemptions: int = 0,
) -> Result:
    """Of jobs that ended then, NaN where they did not, and thought so long, or to their end."""
    thought = jobs.need_tokens if thought_tokens is None else thought_tokens
    is_cut = np.isfinite(finish_s) & (thought < np.minimum(jobs.need_tokens, ANY_TOKENS))
    response_s = finish_s - jobs.arrival_s
    sampled = jobs.sampled_tokens - np.where(is_cut, jobs.need_tokens - thought, 0)
    slowdown = response_s / setting.model.alone_s(jobs.prompt_tokens, sampled)
    counts = (np.arange(len(jobs)) >= WARM_UP_SHARE * len(jobs)) & np.isfinite(finish_s)
    easy, hard = counts & ~jobs.is_hard, counts & jobs.is_hard
    in_time = counts & ~is_cut & (response_s <= _patience_s(jobs) if setting.deadlines else True)
    span_s = jobs.arrival_s[-1] - jobs.arrival_s[int(WARM_UP_SHARE * len(jobs))]
    return Result(
        easy_p50_slowdown=_percentile(slowdown[easy], 50),
        easy_p99_slowdown=_percentile(slowdown[easy], 99),
        mean_s=float(response_s[counts].mean()) if counts.any() else float("nan"),
        hard_p99_s=_percentile(response_s[hard], 99),
        goodput=float(in_time.sum() / span_s),
        preemptions=preemptions / len(jobs),
        cut=float(is_cut.mean()),
        refused=float(np.isnan(finish_s).mean()),
        easy_refused=float(np.isnan(finish_s[~jobs.is_hard]).mean()),
    )


def _percentile(values: Floats, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")


def _steps(jobs: Jobs) -> Floats:
    return jobs.sampled_tokens.astype(np.float64)


def _slots(setting: Setting, count: int | None = None) -> controls.Slots:
    shape = setting.shape
    return controls.Slots(count or shape.num_slots, shape.slots, setting.model)


def _split(
    setting: Setting,
    jobs: Jobs,
    outcome_looks_easy: NDArray[np.bool_],
    job_looks_easy: NDArray[np.bool_],
) -> Result:
    """Two queues, each with slots in proportion to the work that the mix, not tripled, sends it."""
    outcomes, total = setting.outcomes, setting.shape.num_slots
    weights = np.where(
        outcomes.is_hard, 0.1 / outcomes.is_hard.mean(), 0.9 / (~outcomes.is_hard).mean()
    )
    work = weights * outcomes.need_tokens
    share = work[outcome_looks_easy].sum() / work.sum()
    num_easy = min(total - 1, max(1, round(share * total)))
    finish_s = np.full(len(jobs), np.nan)
    for chosen, count in ((job_looks_easy, num_easy), (~job_looks_easy, total - num_easy)):
        slots = _slots(setting, count)
        finish_s[chosen] = controls.fcfs(jobs.arrival_s[chosen], _steps(jobs)[chosen], slots)
    return result(setting, jobs, finish_s)


def _ponder(setting: Setting, jobs: Jobs, easy_cap: int, **of_easy: float) -> Result:
    """`of_easy`: configuration of the easy pool's workers, where it is not the default."""
    shape, longest = setting.shape, _longest_tokens(jobs)
    easy, thinking = (
        worker_config(shape.slots, longest, **of_easy),
        worker_config(shape.slots, longest),
    )
    configs = [easy] * shape.easy + [thinking] * (shape.workers - shape.easy)
    workers = [SimulatedWorker(config, setting.model) for config in configs]
    views = [
        WorkerView(index, POOL_EASY, shape.slots, easy_cap)
        if index < shape.easy
        else WorkerView(index, POOL_THINKING, shape.slots, ANY_TOKENS)
        for index in range(shape.workers)
    ]
    tokens_per_s = setting.model.slot_tokens_per_s(shape.slots)
    routing = Routing(setting.outcomes, views, setting.seed, tokens_per_s)
    deadline_s = jobs.arrival_s + _patience_s(jobs) if setting.deadlines else None
    served = Cluster(workers, routing, jobs, deadline_s).run()
    return result(setting, jobs, served.finish_s, served.thinking_tokens, served.num_preemptions)


def _longest_tokens(jobs: Jobs) -> int:
    """Of any job with the largest budget, and the two markers."""
    answers = np.maximum(jobs.answer_tokens, LONGEST_ANSWER)
    return max(MAX_MODEL_TOKENS, ANY_TOKENS + int((jobs.prompt_tokens + answers).max()) + 2)


def _patience_s(jobs: Jobs) -> Floats:
    return np.where(jobs.is_hard, _HARD_DEADLINE_S, _EASY_DEADLINE_S)
