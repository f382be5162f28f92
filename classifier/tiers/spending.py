"""What requests spent, and whether that was what they needed: from traces or from bare lengths."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from classifier.errors import DatasetError
from classifier.kaplan_meier import Floats, KaplanMeier
from classifier.readers import json_records, spending_of
from classifier.traces.parquet import is_parquet, read_parquet_traces
from ponder.bins import horizon_tokens, stopped_by_itself
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop

_NO_PREDICTION = -1

Row = tuple[int, bool, int]
"""Tokens, whether they are the need (else the need is above them), predicted bin or -1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """One entry per request in each array. Budgets are chosen by the prediction, so a cut says
    nothing more about the need among requests with the same `predicted_bin`.
    """

    tokens: Floats
    is_need: NDArray[np.bool_]
    predicted_bin: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Self:
        """Takes the rows one by one."""
        kind = np.dtype([("tokens", "i8"), ("is_need", "?"), ("predicted_bin", "i8")])
        table = np.fromiter(rows, dtype=kind)
        return cls(
            tokens=table["tokens"].astype(np.float64),
            is_need=table["is_need"],
            predicted_bin=table["predicted_bin"],
        )

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def num_known(self) -> int:
        return int(self.is_need.sum())

    def curve(self) -> KaplanMeier:
        """The distribution of the need."""
        return KaplanMeier.fit_strata(self.tokens, self.is_need, self.predicted_bin)


async def ledger_rows(ledger: Ledger, model: str) -> list[Row]:
    """Of the traces in Redis. Raises LedgerUnavailable."""
    found = [_row_of(trace) async for _, trace in ledger.read_traces(model)]
    return [row for row in found if row is not None]


def file_rows(path: Path, model: str) -> Iterator[Row]:
    """Of JSON lines, or of an export. Raises DatasetError."""
    if is_parquet(path):
        found = (_row_of(trace) for _, trace in read_parquet_traces(path, model))
        yield from (row for row in found if row is not None)
        return
    for place, record in json_records(path):
        if record["model"] == model:
            predicted_bin = record.get("predicted_bin")
            yield _row(*spending_of(record, place), predicted_bin)


def length_rows(path: Path, column: str) -> Iterator[Row]:
    """Of a column of thinking lengths in a CSV file, all of them needs. Raises DatasetError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if column not in (names := reader.fieldnames or []):
                raise DatasetError(f"{path}: no column {column!r}; it has {', '.join(names)}")
            for record in reader:
                yield _length(record[column], f"{path}:{reader.line_num}: {column}"), True, 0
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8: {error}") from error


def _length(value: str | None, place: str) -> int:
    if value is None or not (value.isascii() and value.isdecimal()):
        raise DatasetError(f"{place} is {value!r}, must be a whole number of 0 or more")
    return int(value)


def _row_of(trace: Settlement) -> Row | None:
    if trace.stop == budget_pb2.THINKING_STOP_UNSPECIFIED:
        return None
    spent = trace.usage.thinking_tokens, trace.budget_tokens, trace.stop
    return _row(*spent, trace.predicted_bin)


def _row(
    thinking_tokens: int,
    budget_tokens: int,
    stop: ThinkingStop.ValueType,
    predicted_bin: int | None,
) -> Row:
    stratum = _NO_PREDICTION if predicted_bin is None else predicted_bin
    if stopped_by_itself(stop):
        return thinking_tokens, True, stratum
    return horizon_tokens(thinking_tokens, budget_tokens, stop), False, stratum
