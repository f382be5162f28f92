"""Batches of a Parquet export as Columns, without an object per trace."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute as pc

from classifier.columns import Columns, shown
from classifier.decisions import AUTOMATIC_RULES, NUM_TIERS, UNKNOWN_TIER
from classifier.errors import DatasetError
from classifier.features import FEATURE_VERSION, encode
from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop, Tier
from ponder.v1.reasoner_pb2 import Rule

PARQUET_COLUMNS: Final = (
    *("features", "prompt", "thinking_tokens", "budget_tokens", "stop"),
    *("tier", "escalations", "tier_propensities", "rule", "tenant"),
)


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
        stops=_coded(batch, "stop", ThinkingStop, path),
        families=np.full(len(batch), "", dtype=object),
        prompts=_prompts(batch.column("prompt")),
        **_decisions(batch, path),
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


def _prompts(column: pa.Array) -> NDArray[np.object_]:
    if column.null_count == len(column):
        return np.full(len(column), "", dtype=object)
    return np.array([shown(prompt) for prompt in column.to_pylist()], dtype=object)


def _decisions(batch: pa.RecordBatch, path: Path) -> dict[str, NDArray[Any]]:
    """As Decision.of has them. Raises DatasetError for what cannot have been."""
    reached = _coded(batch, "tier", Tier, path) - budget_pb2.TIER_SIMPLE
    is_known = reached >= 0
    reached = np.where(is_known, reached, UNKNOWN_TIER)
    first = np.where(is_known, reached - batch.column("escalations").to_numpy(), UNKNOWN_TIER)
    propensities = _propensities(batch.column("tier_propensities"), first)
    own = np.take_along_axis(propensities, np.maximum(first, 0)[:, np.newaxis], axis=1)[:, 0]
    sums_to_one = np.abs(propensities.sum(axis=1) - 1.0) < 1e-6
    possible = (first >= 0) & (own > 0.0) & sums_to_one & (propensities >= 0.0).all(axis=1)
    if len(wrong := np.flatnonzero(is_known & ~possible)):
        raise DatasetError(
            f"{path}: tier_propensities, escalations and tier of {len(wrong)} traces cannot have "
            "been: leave the file out"
        )
    rules = _coded(batch, "rule", Rule, path)
    return {
        "first_tiers": first.astype(np.int64),
        "reached_tiers": reached,
        "propensities": np.where(is_known[:, np.newaxis], propensities, 0.0),
        "is_automatic": is_known & np.isin(rules, AUTOMATIC_RULES),
        "tenants": np.where(is_known, batch.column("tenant").to_numpy(False), "").astype(object),
    }


def _propensities(column: pa.Array, first_tiers: NDArray[np.int64]) -> NDArray[np.float64]:
    """(num_rows, NUM_TIERS); those of a certain decision where none were logged."""
    lengths = pc.list_value_length(column).to_numpy()
    found = np.eye(NUM_TIERS)[np.clip(first_tiers, 0, NUM_TIERS - 1)]
    logged = np.flatnonzero(lengths == NUM_TIERS)
    wrong = ~np.isin(lengths, (0, NUM_TIERS))
    values = column.filter(pa.array(lengths == NUM_TIERS)).flatten().to_numpy()
    found[logged] = values.reshape(-1, NUM_TIERS)
    found[wrong] = 0.0
    return found


def _coded(batch: pa.RecordBatch, name: str, enum: Any, path: Path) -> NDArray[np.int64]:
    """Values of an enum from its names."""
    coded = batch.column(name).dictionary_encode()
    try:
        values = [enum.Value(value) for value in coded.dictionary.to_pylist()]
    except ValueError as error:
        raise DatasetError(f"{path}: {name} is of a later version: {error}") from error
    found: NDArray[np.int64] = np.array(values, dtype=np.int64)[coded.indices.to_numpy()]
    return found
