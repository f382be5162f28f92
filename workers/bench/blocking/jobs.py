"""What arrives, when, and what it will need: drawn from outcomes of real requests. Pure numpy."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EASY_SHARE: Final = 0.9
EASY_NEED_TOKENS: Final = 500
"""The largest budget of the easy pool: what needs at most this is easy."""

PROMPT_TOKENS: Final = 32
ANSWER_TOKENS: Final = 8
"""About those of the reference model's questions; both are small beside the thinking."""

_MARKER_TOKENS: Final = 2  # </think> and the end of sequence are sampled too


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Requests that were really thought about. `hazards` (rows, NUM_NEED_BINS) is what the
    classifier predicted of each, `need_tokens` (rows,) what it then needed.
    """

    hazards: Floats
    need_tokens: Ints

    @property
    def is_hard(self) -> NDArray[np.bool_]:
        return self.need_tokens > EASY_NEED_TOKENS


@dataclass(frozen=True, slots=True)
class Jobs:
    """One entry per request, in the order of arrival. `rows` are those of the outcomes that
    predict it, `need_tokens` and `is_hard` are what it really is.
    """

    arrival_s: Floats
    rows: Ints
    need_tokens: Ints
    is_hard: NDArray[np.bool_]
    prompt_tokens: Ints
    answer_tokens: Ints

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def sampled_tokens(self) -> Ints:
        """Thinking, answer and markers: a step of a slot each."""
        return self.need_tokens + self.answer_tokens + _MARKER_TOKENS

    def with_predictions_shuffled(self, seed: int) -> Jobs:
        """The same requests, each predicted as another one: a control that knows nothing."""
        return replace(self, rows=np.random.default_rng(seed).permutation(self.rows))


def mean_tokens(outcomes: Outcomes, hard_factor: float = 1.0) -> float:
    """Sampled tokens of a mean arrival of the mix without the factor: with it, there are more."""
    hard = outcomes.is_hard
    sampled = outcomes.need_tokens + ANSWER_TOKENS + _MARKER_TOKENS
    easy_mean, hard_mean = sampled[~hard].mean(), sampled[hard].mean()
    return float(EASY_SHARE * easy_mean + hard_factor * (1 - EASY_SHARE) * hard_mean)


@dataclass(frozen=True, slots=True)
class Mix:
    """`load` is the share of capacity that the mix asks for, before hard arrivals are multiplied
    by `hard_factor`; `gaps` are arrival gaps to draw on in turn, of any mean; None: Poisson.
    """

    load: float
    hard_factor: float = 1.0
    gaps: Floats | None = None


def draw_jobs(outcomes: Outcomes, mix: Mix, tokens_per_s: float, count: int, seed: int) -> Jobs:
    """`tokens_per_s` is the capacity of all slots."""
    rng = np.random.default_rng(seed)
    hard_share = mix.hard_factor * (1 - EASY_SHARE)
    rate = mix.load * tokens_per_s / mean_tokens(outcomes) * (EASY_SHARE + hard_share)
    is_hard = rng.random(count) < hard_share / (EASY_SHARE + hard_share)
    easy_rows, hard_rows = np.flatnonzero(~outcomes.is_hard), np.flatnonzero(outcomes.is_hard)
    rows = np.where(is_hard, rng.choice(hard_rows, count), rng.choice(easy_rows, count))
    return Jobs(
        arrival_s=np.cumsum(_gaps(mix.gaps, count, rng)) / rate,
        rows=rows,
        need_tokens=outcomes.need_tokens[rows],
        is_hard=is_hard,
        prompt_tokens=np.full(count, PROMPT_TOKENS),
        answer_tokens=np.full(count, ANSWER_TOKENS),
    )


def _gaps(gaps: Floats | None, count: int, rng: np.random.Generator) -> Floats:
    """Mean 1. Gaps of a trace keep their order, from a random one on, and begin again."""
    if gaps is None:
        return rng.exponential(1.0, count)
    first = rng.integers(len(gaps))
    drawn = gaps[(first + np.arange(count)) % len(gaps)]
    scaled: Floats = drawn / gaps.mean()
    return scaled


def read_gaps(path: Path) -> Floats:
    """Gaps of a CSV file with arrivals in a column `t_s` (seconds) or `TIMESTAMP` (date and time).

    Raises ValueError that names what is wrong.
    """
    with path.open(encoding="utf-8", newline="") as file:
        arrivals = np.sort(np.fromiter(_arrivals(path, csv.DictReader(file)), np.float64))
    if len(arrivals) < 2 or arrivals[-1] == arrivals[0]:
        raise ValueError(f"{path}: fewer than two arrivals apart from each other")
    return np.diff(arrivals)


def _arrivals(path: Path, rows: csv.DictReader[str]) -> Iterator[float]:
    names = rows.fieldnames or ()
    if "t_s" not in names and "TIMESTAMP" not in names:
        raise ValueError(f"{path}: no column t_s or TIMESTAMP: name a trace of arrivals")
    for row in rows:
        try:
            if "t_s" in names:
                yield float(row["t_s"])
            else:
                # Up to microseconds: the traces have a digit more.
                yield datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
        except ValueError as error:
            raise ValueError(f"{path}:{rows.line_num}: {error}") from error
