"""The requests that were: read from traces, to be drawn from. Reads by the classifier's readers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from classifier.errors import DatasetError
from classifier.readers import json_records
from classifier.traces.parquet import is_parquet, read_parquet_traces
from ponder.bins import NUM_NEED_BINS
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.trace_rows import from_row
from workers.bench.blocking.jobs import Floats, Ints, Outcomes

MOST_TRACES: Final = 20_000
"""The newest of a model; more change no figure."""
FEWEST_TRACES: Final = 100
_BUSY_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Past:
    """One entry per request. What it spent is taken as what it needs: with the early exits and the
    budgets that it was served with. `finished_s` (all,) is of those without a prediction too.
    """

    outcomes: Outcomes
    prompt_tokens: Ints
    answer_tokens: Ints
    finished_s: Floats

    @classmethod
    def of(cls, settlements: Iterable[Settlement]) -> Self:
        """Raises DatasetError when they are too few, or all easy or all hard."""
        newest = deque(settlements, maxlen=MOST_TRACES)
        predicted = [one for one in newest if len(one.prior_hazards) == NUM_NEED_BINS]
        if len(predicted) < FEWEST_TRACES:
            raise DatasetError(
                f"{len(predicted)} of {len(newest)} traces have a prediction, at least "
                f"{FEWEST_TRACES} are needed: let routers with a classifier serve for a while"
            )
        usages = [one.usage for one in predicted]
        outcomes = Outcomes(
            np.array([one.prior_hazards for one in predicted], np.float64),
            np.array([usage.thinking_tokens for usage in usages], np.int64),
        )
        if outcomes.is_hard.all() or not outcomes.is_hard.any():
            kind = "hard" if outcomes.is_hard.all() else "easy"
            raise DatasetError(f"all traces are of {kind} requests: one pool alone is not sized")
        return cls(
            outcomes,
            np.array([max(1, usage.prompt_tokens) for usage in usages], np.int64),
            np.array([max(1, usage.answer_tokens) for usage in usages], np.int64),
            np.sort(np.array([one.finished_at_s for one in newest], np.float64)),
        )

    @property
    def busiest_rate(self) -> float:
        """Requests a second in the ten minutes with most of them."""
        first = np.searchsorted(self.finished_s, self.finished_s - _BUSY_S, side="right")
        return float((np.arange(len(self.finished_s)) - first + 1).max() / _BUSY_S)


def read_past(path: Path, model: str) -> Past:
    """Of what `ponder traces export` or `ponder traces tail --json` wrote. Raises DatasetError."""
    if is_parquet(path):
        return Past.of(found for _, found in read_parquet_traces(path, model))
    return Past.of(_json_settlements(path, model))


async def past_of_ledger(ledger: Ledger, model: str) -> Past:
    """Raises LedgerUnavailable, DatasetError."""
    newest: deque[Settlement] = deque(maxlen=MOST_TRACES)
    async for _, settlement in ledger.read_traces(model):
        newest.append(settlement)
    return Past.of(newest)


def _json_settlements(path: Path, model: str) -> Iterator[Settlement]:
    for place, record in json_records(path):
        if record["model"] == model:
            try:
                yield from_row(record)
            except ValueError as error:
                raise DatasetError(f"{place}: {error}") from error
