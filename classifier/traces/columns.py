"""Batches of a Parquet export as Columns, without an object per trace."""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute as pc

from classifier.columns import Columns
from classifier.errors import DatasetError
from classifier.features import FEATURE_VERSION, encode
from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop

PARQUET_COLUMNS: Final = ("features", "prompt", "thinking_tokens", "budget_tokens", "stop")


def columns_of(batch: pa.RecordBatch, path: Path) -> Columns:
    """The usable rows, as outcome_of of classifier.readers has them: those with a stop, whose
    features are of this version, or can be made from the prompt. Raises DatasetError.
    """
    features = batch.column("features")
    rows = Columns(
        values=features.flatten().to_numpy(),
        offsets=np.concatenate([[0], np.cumsum(pc.list_value_length(features).to_numpy())]),
        thinking_tokens=batch.column("thinking_tokens").to_numpy().astype(np.int64),
        budget_tokens=batch.column("budget_tokens").to_numpy().astype(np.int64),
        stops=_stops(batch.column("stop"), path),
        families=np.full(len(batch), "", dtype=object),
    )
    has_stop = rows.stops != budget_pb2.THINKING_STOP_UNSPECIFIED
    is_current = has_stop & (_versions(rows) == FEATURE_VERSION)
    if is_current.all():
        return rows
    stale = np.flatnonzero(
        has_stop & ~is_current & batch.column("prompt").is_valid().to_numpy(False)
    )
    anew = _encoded(rows.rows(stale), batch.column("prompt").take(pa.array(stale)).to_pylist())
    return Columns.joined([rows.rows(np.flatnonzero(is_current)), anew])


def _versions(rows: Columns) -> NDArray[np.int64]:
    """Of the features of each row, 0 where there are none."""
    versions = np.zeros(len(rows), dtype=np.int64)
    given = np.diff(rows.offsets) > 0
    versions[given] = rows.values[rows.offsets[:-1][given]]
    return versions


def _encoded(rows: Columns, prompts: list[str]) -> Columns:
    """The rows with features made from the prompts."""
    ids = [encode(prompt) for prompt in prompts]
    others = {
        name: getattr(rows, name) for name in rows.__slots__ if name not in ("values", "offsets")
    }
    return Columns(
        values=np.concatenate([np.zeros(0, dtype=np.uint32), *ids]),
        offsets=np.cumsum([0, *map(len, ids)]),
        **others,
    )


def _stops(column: pa.Array, path: Path) -> NDArray[np.int64]:
    coded = column.dictionary_encode()
    try:
        values = [ThinkingStop.Value(name) for name in coded.dictionary.to_pylist()]
    except ValueError as error:
        raise DatasetError(f"{path}: stop is of a later version: {error}") from error
    found: NDArray[np.int64] = np.array(values, dtype=np.int64)[coded.indices.to_numpy()]
    return found
