"""Slowdowns of the requests to real processes, and how sure their ratios are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.bench.blocking.jobs import Floats, Ints
from workers.bench.blocking.processes.asking import Question, Reply
from workers.bench.blocking.processes.course import Course, Round
from workers.bench.blocking.processes.stacks import ONE_QUEUE, PONDER

_WARM_UP_S: Final = 5.0
"""The processes are idle when a round begins. Nobody is left out of a shorter round."""
_STRETCH_S: Final = 5.0
"""Requests of one busy time share their fate: resampled are stretches, not requests."""
_RESAMPLES: Final = 500
_SEED: Final = 2026
_PERCENTS: Final = (50, 99)

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Served:
    """What one subject made of all that counts, one entry per request. `slowdown` is response by
    response alone; it and `response_s` are NaN where nobody answered. `stretch` numbers those of
    all rounds.
    """

    slowdown: Floats
    response_s: Floats
    is_hard: Flags
    is_refused: Flags
    is_failed: Flags
    is_cut: Flags  # answered with less thinking than alone
    stretch: Ints

    @classmethod
    def of(cls, course: Course, subject: str) -> Served:
        """All rounds, but for the warm-up of each."""
        rows = [
            row
            for number, round_ in enumerate(course.rounds)
            for row in _rows(course, round_, subject, number)
        ]
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))

    def at(self, index: Ints) -> Served:
        """Those requests only, as often as they are named."""
        return Served(*(getattr(self, name)[index] for name in self.__slots__))


def _rows(
    course: Course, round_: Round, subject: str, number: int
) -> Iterator[tuple[float, float, bool, bool, bool, bool, int]]:
    arrival_s = round_.arrivals.arrival_s
    warm_up_s = _WARM_UP_S if arrival_s[-1] > 2 * _WARM_UP_S else 0.0
    for index, reply in enumerate(round_.replies[subject]):
        if arrival_s[index] < warm_up_s:
            continue
        question = round_.arrivals.question(course.pool, index)
        response_s = reply.response_s if reply.error is None else np.nan
        yield (
            response_s / question.alone_s,
            response_s,
            bool(round_.arrivals.is_hard[index]),
            reply.is_refused,
            reply.error is not None and not reply.is_refused,
            _is_cut(reply, question),
            1_000 * number + int(arrival_s[index] // _STRETCH_S),
        )


def _is_cut(reply: Reply, question: Question) -> bool:
    return reply.error is None and reply.thinking_tokens < question.need_tokens


def slowdowns(served: Served) -> dict[str, float]:
    """By class and percentile; NaN where nobody of the class was answered."""
    return {
        f"{name}_p{percent}_slowdown": _percentile(served.slowdown[served.is_hard == hard], percent)
        for name, hard in (("easy", False), ("hard", True))
        for percent in _PERCENTS
    }


def counts(served: Served) -> dict[str, float]:
    """How many requests there were, and how many ended otherwise than alone."""
    return {
        "easy": float((~served.is_hard).sum()),
        "hard": float(served.is_hard.sum()),
        "refused": float(served.is_refused.sum()),
        "easy_refused": float((served.is_refused & ~served.is_hard).sum()),
        "failed": float(served.is_failed.sum()),
        "cut": float(served.is_cut.sum()),
        "mean_s": _mean(served.response_s),
    }


def ratios(course: Course) -> Mapping[str, tuple[float, float, float]]:
    """Ponder's by the one queue's on the same arrivals, and a 95 % interval by bootstrap."""
    ours, theirs = Served.of(course, PONDER), Served.of(course, ONE_QUEUE)
    found: dict[str, list[float]] = {}
    everybody = np.arange(len(ours.stretch))
    for index in [everybody, *_resamples(ours.stretch)]:
        for name, ratio in _ratios(ours.at(index), theirs.at(index)).items():
            found.setdefault(name, []).append(ratio)
    return {
        name: (
            values[0],
            _percentile(np.array(values[1:]), 2.5),
            _percentile(np.array(values[1:]), 97.5),
        )
        for name, values in found.items()
    }


def _ratios(ours: Served, theirs: Served) -> dict[str, float]:
    controls = slowdowns(theirs)
    found = {name: value / controls[name] for name, value in slowdowns(ours).items()}
    return {**found, "mean_s": _mean(ours.response_s) / _mean(theirs.response_s)}


def _resamples(stretch: Ints) -> Iterator[Ints]:
    """Requests of as many stretches as there are, drawn with replacement."""
    rng = np.random.default_rng(_SEED)
    members = [np.flatnonzero(stretch == one) for one in np.unique(stretch)]
    for _ in range(_RESAMPLES):
        yield np.concatenate(
            [members[one] for one in rng.integers(len(members), size=len(members))]
        )


def offered_load(course: Course) -> float:
    """Tokens that the arrivals sampled alone, by what the capacity would have sampled meanwhile."""
    rounds, pool = course.rounds, course.pool
    asked_tokens = sum(
        round_.arrivals.question(pool, index).sampled_tokens
        for round_ in rounds
        for index in range(len(round_.arrivals.arrival_s))
    )
    return asked_tokens / sum(
        float(round_.arrivals.arrival_s[-1]) * round_.capacity_tokens_per_s for round_ in rounds
    )


def _percentile(values: Floats, percent: float) -> float:
    """Of those that are a number; NaN where none is."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if len(finite) else float("nan")


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
