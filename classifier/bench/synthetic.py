"""Traces made up by the million: real prompts' features, needs drawn from a known truth.

A bank of prompts is generated; every trace takes the features of one of them. Its need is drawn
from the curve that the general classifier predicts for it, so the truth of every row is known; its
budget is drawn among the tiers', so some are cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.features import encode
from classifier.general.prompts import generate
from classifier.predictor import DifficultyClassifier
from classifier.survival import TIER_BUDGETS, Floats
from classifier.traces.parquet import PartWriter, part_path, trace_schema
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from ponder.settlement import Settlement
from ponder.trace_rows import to_row
from ponder.v1.budget_pb2 import (
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    FinishReason,
    Pool,
    ThinkingStop,
    Tier,
    Usage,
)
from ponder.v1.reasoner_pb2 import Rule

MODEL: Final = "synthetic"
_BANK_SEED: Final = 7
_PART_ROWS: Final = 100_000
_GROUP_ROWS: Final = 20_000
_BUDGET_WEIGHTS: Final = (0.2, 0.3, 0.2, 0.3)
_STOPS: Final = (THINKING_STOP_EXHAUSTED, THINKING_STOP_FINISHED)


# What all traces share.
_SAME: Final = MappingProxyType(
    to_row(
        "0-0",
        Settlement(
            request_id="r",
            tenant="t",
            model=MODEL,
            tier=Tier.TIER_SIMPLE,
            pool=Pool.POOL_EASY,
            rule=Rule.RULE_AUTOMATIC,
            budget_tokens=0,
            stop=THINKING_STOP_FINISHED,
            finish_reason=FinishReason.FINISH_REASON_STOP,
            usage=Usage(),
            predicted_bin=None,
            prior_hazards=(),
            propensity=1.0,
            classifier_version="",
            features=(),
            prompt=None,
            segment=0,
            queue_ms=0.0,
            first_token_ms=0.0,
            worker="w",
            finished_at_s=0.0,
        ),
        with_prompt=False,
    )
)


@dataclass(frozen=True, slots=True)
class Bank:
    """Ids of prompts, and the hazards (num_prompts, NUM_NEED_BINS) that are the truth of each."""

    ids: tuple[tuple[int, ...], ...]
    hazards: Floats

    @classmethod
    def of(cls, num_prompts: int, truth: DifficultyClassifier) -> Self:
        """Prompts by template, the same every time."""
        prompts = generate(num_prompts, _BANK_SEED)
        ids = tuple(tuple(encode(prompt.text).tolist()) for prompt in prompts)
        hazards = np.stack([truth.predict_features(row) for row in ids])
        return cls(ids, hazards.astype(np.float64))

    def draw(self, num_rows: int, rng: np.random.Generator) -> "Draws":
        """Requests for prompts of the bank, drawn evenly."""
        prompts = rng.integers(len(self.ids), size=num_rows)
        needs = self._needs(prompts, rng)
        budgets = rng.choice(list(TIER_BUDGETS.values()), size=num_rows, p=_BUDGET_WEIGHTS)
        return Draws(prompts, np.minimum(needs, budgets), budgets, needs <= budgets)

    def _needs(self, prompts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Log-uniform within their bins; above the last edge, up to twice that."""
        stops = rng.random((len(prompts), NUM_NEED_BINS)) < self.hazards[prompts]
        bins = np.where(stops.any(axis=1), stops.argmax(axis=1), NUM_NEED_BINS)
        lower = np.array([0, *NEED_BIN_EDGES])[bins]
        upper = np.array([*NEED_BIN_EDGES, 2 * NEED_BIN_EDGES[-1]])[bins]
        ratio = (upper + 1) / (lower + 1)
        needs = np.clip((lower + 1) * ratio ** rng.random(len(bins)), lower + 1, upper)
        found: NDArray[np.int64] = needs.astype(np.int64)
        return found


@dataclass(frozen=True, slots=True)
class Draws:
    """Index of the prompt and what was spent, (num_rows,) each."""

    prompts: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64]
    budget_tokens: NDArray[np.int64]
    finished: NDArray[np.bool_]

    def outcomes(self, bank: Bank) -> Iterator[Outcome]:
        """The same as rows."""
        columns = (self.prompts, self.thinking_tokens, self.budget_tokens, self.finished)
        for prompt, spent, budget, finished in zip(*map(np.ndarray.tolist, columns), strict=True):
            yield Outcome(
                ids=bank.ids[prompt],
                thinking_tokens=spent,
                budget_tokens=budget,
                stop=_STOPS[finished],
                family="",
            )


def write_parts(bank: Bank, folder: Path, num_rows: int, seed: int) -> None:
    """Parts as `ponder traces export` writes them, into an empty folder."""
    rng = np.random.default_rng(seed)
    ids = pa.array(bank.ids, type=trace_schema().field("features").type)
    for number, begin in enumerate(range(0, num_rows, _PART_ROWS), start=1):
        end = min(num_rows, begin + _PART_ROWS)
        with PartWriter(part_path(folder, number), MODEL) as part:
            for first in range(begin, end, _GROUP_ROWS):
                draws = bank.draw(min(_GROUP_ROWS, end - first), rng)
                part.append_table(_table(draws, ids, first), f"{end}-0")


def judged(bank: Bank, num_rows: int, seed: int) -> tuple[Dataset, Floats]:
    """Fresh requests for prompts that no training sees, and the true hazards of each."""
    draws = bank.draw(num_rows, np.random.default_rng(seed))
    data = Dataset.of(draws.outcomes(bank))
    is_test = data.splits == "test"
    return data.rows(is_test), bank.hazards[draws.prompts[is_test]]


def _table(draws: Draws, ids: pa.Array, first: int) -> pa.Table:
    num_rows = len(draws.prompts)
    names = np.array([ThinkingStop.Name(stop) for stop in _STOPS], dtype=object)
    columns: dict[str, Any] = {
        "trace_id": [f"{number + 1}-0" for number in range(first, first + num_rows)],
        "budget_tokens": draws.budget_tokens,
        "thinking_tokens": draws.thinking_tokens,
        "stop": names[draws.finished.astype(np.int64)],
        "features": ids.take(pa.array(draws.prompts)),
    }
    arrays = [
        pa.array(columns.get(field.name, [_SAME[field.name]] * num_rows), type=field.type)
        for field in trace_schema()
    ]
    return pa.Table.from_arrays(arrays, schema=trace_schema())
