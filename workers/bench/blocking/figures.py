"""Which runs are made, and the figures of `ponder bench blocking` from their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from workers.bench.blocking.jobs import Mix, Outcomes
from workers.bench.blocking.scenario import POLICIES, Result, Setting, Shape
from workers.bench.blocking.service import StepModel

LOADS: Final = (0.5, 0.7, 0.95)
"""Beside 0.85: what the plot shows, and what the peak of goodput is looked for in."""

SMALL_BY_WORKLOAD: Final[Mapping[str, Shape]] = {
    "real": Shape(workers=4, slots=4, easy=1),
    "two_class": Shape(workers=4, slots=4, easy=2),
    "trace": Shape(workers=4, slots=4, easy=1),
}
"""16 slots; pools as large as the work that the mix sends them, to the next worker."""

TWO_WORKERS: Final = Shape(workers=2, slots=8, easy=1)
"""As `ponder up` has them: the floor of the demoted is an eighth here, and a quarter above."""

LARGE: Final = Shape(workers=1_000, slots=4, easy=250)

_CONTROLS: Final = ("fcfs", "split_classifier", "split_perfect", "srpt")
_PONDERS: Final = ("ponder", "ponder_uncapped")


@dataclass(frozen=True, slots=True)
class Run:
    """One policy in one setting; `scenario` is what its figures are called by."""

    scenario: str
    policy: str
    setting: Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is simulated."""

    jobs: int
    seeds: int
    large_jobs: int
    is_whole: bool = True


def plan_runs(
    workloads: Mapping[str, tuple[Outcomes, Mix]], model: StepModel, scale: Scale
) -> Iterator[Run]:
    """Every run; those of one scenario and seed have the same jobs."""
    if scale.is_whole:
        yield from _large(*workloads["real"], model, scale)  # first, as it takes longest
    for name, (outcomes, mix) in workloads.items():
        base = Setting(
            outcomes=outcomes,
            mix=mix,
            shape=SMALL_BY_WORKLOAD[name],
            model=model,
            count=scale.jobs,
            seed=0,
        )
        yield from _each(name, POLICIES, base, scale.seeds)
        tripled = replace(base, mix=replace(mix, load=0.8, hard_factor=3.0))
        yield from _each(f"{name}_hard_x3", POLICIES, tripled, scale.seeds)
        if name == "real" and scale.is_whole:
            yield from _loads(base, scale.seeds)
            yield from _two_workers(base, scale.seeds)


def _loads(base: Setting, seeds: int) -> Iterator[Run]:
    for load in LOADS:
        setting = replace(base, mix=replace(base.mix, load=load))
        yield from _each(f"real_load_{load:g}", (*_CONTROLS, *_PONDERS), setting, seeds)
    for load in (0.85, 1.2, 8.0):
        # As long a time at every load: at 8 times it the jobs of the others are over before the
        # deadline of the first hard one.
        count = round(base.count * max(1.0, load))
        setting = replace(base, mix=replace(base.mix, load=load), count=count, deadlines=True)
        yield from _each(f"deadline_load_{load:g}", (*_PONDERS, "fcfs"), setting, seeds)


def _two_workers(base: Setting, seeds: int) -> Iterator[Run]:
    policies = ("fcfs", "srpt", *_PONDERS)
    setting = replace(base, shape=TWO_WORKERS)
    yield from _each("two_workers", policies, setting, seeds)
    tripled = replace(setting, mix=replace(base.mix, load=0.8, hard_factor=3.0))
    yield from _each("two_workers_hard_x3", policies, tripled, seeds)


def _large(outcomes: Outcomes, mix: Mix, model: StepModel, scale: Scale) -> Iterator[Run]:
    setting = Setting(
        outcomes=outcomes, mix=mix, shape=LARGE, model=model, count=scale.large_jobs, seed=0
    )
    yield from _each("large", ("ponder", "fcfs", "srpt"), setting, 1)


def _each(scenario: str, policies: Iterable[str], setting: Setting, seeds: int) -> Iterator[Run]:
    for seed in range(1, seeds + 1):
        for policy in policies:
            yield Run(scenario, policy, replace(setting, seed=seed))


Results = Mapping[tuple[str, str], Sequence[Result]]
"""By scenario and policy; one entry per seed, in the order of seeds."""


def headline(results: Results, policy: str) -> dict[str, tuple[float, float, float]]:
    """The figures that the targets are for, of the scenarios that were run: mean, lowest and
    highest over seeds.
    """
    figures: dict[str, Sequence[float]] = {}
    if real := results.get(("real", policy)):
        figures["easy_p99_slowdown"] = [run.easy_p99_slowdown for run in real]
        figures["mean_over_srpt"] = _ratios(results, "real", policy, "srpt", "mean_s")
        figures["hard_p99_over_fcfs"] = _ratios(results, "real", policy, "fcfs", "hard_p99_s")
    if tripled := results.get(("real_hard_x3", policy)):
        figures["easy_p99_slowdown_hard_x3"] = [run.easy_p99_slowdown for run in tripled]
        figures["easy_refused_hard_x3"] = [run.easy_refused for run in tripled]
    if usual := results.get(("deadline_load_0.85", policy)):
        figures["easy_refused_deadlines"] = [run.easy_refused for run in usual]
        figures["goodput_8x"] = _goodput_share(results, policy)
    return {name: _summary(values) for name, values in figures.items()}


def mean_result(runs: Sequence[Result]) -> Result:
    """Each figure's mean over seeds."""
    names = [field.name for field in fields(Result)]
    return Result(**{name: float(np.mean([getattr(r, name) for r in runs])) for name in names})


def _ratios(results: Results, scenario: str, policy: str, control: str, figure: str) -> list[float]:
    pairs = zip(results[scenario, policy], results[scenario, control], strict=True)
    return [getattr(ours, figure) / getattr(theirs, figure) for ours, theirs in pairs]


def _goodput_share(results: Results, policy: str) -> list[float]:
    names = [scenario for scenario, _ in results if scenario.startswith("deadline_load")]
    by_load = {name: [run.goodput for run in results[name, policy]] for name in set(names)}
    peaks = np.max(list(by_load.values()), axis=0)
    return list(np.array(by_load["deadline_load_8"]) / peaks)


def _summary(values: Sequence[float]) -> tuple[float, float, float]:
    return float(np.mean(values)), float(min(values)), float(max(values))
