"""Parquet parts: a folder holds part-000001.parquet, part-000002.parquet ... of one model.

A part is written beside its place and renamed when it is whole, so every part that is there is
complete. Its metadata says which version of TRACE_FIELDS it has, of which model it is and which
trace is its last: what an export needs to go on.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
from pyarrow import parquet as pq

from classifier.errors import DatasetError
from ponder.settlement import Settlement
from ponder.trace_rows import TRACE_FIELDS, TRACE_SCHEMA_VERSION, Kind, TraceField, from_row

ROW_GROUP_ROWS: Final = 2_000
"""Traces that are in memory at once, a few kilobytes each."""
_BATCH_ROWS: Final = 20_000
"""The same where only some columns are read, a few hundred bytes each."""

_VERSION: Final = b"ponder.trace_schema_version"
_MODEL: Final = b"ponder.model"
_LAST_ID: Final = b"ponder.last_trace_id"
_TYPES: Final[dict[Kind, Any]] = {
    "text": pa.string(),
    "count": pa.uint32(),
    "large count": pa.uint64(),
    "real": pa.float64(),
    "reals": pa.list_(pa.float64()),
    "ids": pa.list_(pa.uint32()),
}


def trace_schema() -> pa.Schema:
    """TRACE_FIELDS with their meaning, and the version."""
    version = {_VERSION: str(TRACE_SCHEMA_VERSION).encode()}
    return pa.schema([_field(field) for field in TRACE_FIELDS], metadata=version)


class PartWriter:
    """Writes one part. Leaving the block by an exception leaves nothing in its place."""

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._model = model
        self._rows: list[dict[str, Any]] = []
        self._num_written = 0
        self._last_id = ""
        self._writer = pq.ParquetWriter(self._partial, trace_schema(), compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is None and len(self):
            self._finish()
        else:
            self._writer.close()
            self._partial.unlink()

    def __len__(self) -> int:
        return self._num_written + len(self._rows)

    def append(self, row: dict[str, Any]) -> None:
        """Takes a row of ponder.trace_rows.to_row, in the order of the stream."""
        self._rows.append(row)
        self._last_id = row["trace_id"]
        if len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def append_table(self, table: pa.Table, last_id: str) -> None:
        """Takes many rows at once, of trace_schema()."""
        self._flush()
        self._writer.write_table(table)
        self._num_written += len(table)
        self._last_id = last_id

    def _flush(self) -> None:
        if not self._rows:
            return
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=trace_schema()))
        self._num_written += len(self._rows)
        self._rows.clear()

    def _finish(self) -> None:
        self._flush()
        metadata = {_MODEL: self._model.encode(), _LAST_ID: self._last_id.encode()}
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()
        with self._partial.open("rb") as written:
            os.fsync(written.fileno())
        self._partial.replace(self._path)


def part_path(folder: Path, number: int) -> Path:
    """Where part `number`, counted from 1, stands."""
    return folder / f"part-{number:06d}.parquet"


def last_part(folder: Path) -> tuple[int, str]:
    """Number of the last part and the id of its last trace; (0, "0") when there is none.

    Raises DatasetError.
    """
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        return 0, "0"
    metadata = _open(parts[-1]).metadata.metadata
    return int(parts[-1].stem.removeprefix("part-")), metadata[_LAST_ID].decode()


def is_parquet(path: Path) -> bool:
    """Whether the path is one for the readers below: a folder, or a .parquet file."""
    return path.is_dir() or path.suffix == ".parquet"


def read_parquet_traces(path: Path, model: str | None = None) -> Iterator[tuple[str, Settlement]]:
    """Traces with their id, of a part or of all parts in a folder and its folders; of one model
    when it is named. A batch at a time is in memory. Raises DatasetError naming the file.
    """
    for part in _parts(path):
        file = _open(part)
        if model in (None, _model_of(file)):
            for row in _rows(file, part):
                yield row["trace_id"], _settlement(row, part)


def read_parquet_columns(path: Path, model: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some of TRACE_FIELDS of one model's traces, many rows at a time. Raises DatasetError."""
    for part in _parts(path):
        file = _open(part)
        if model == _model_of(file):
            with _damage_named(part):
                yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=list(names))


def num_parquet_rows(path: Path, model: str) -> int:
    """How many traces of a model there are. Reads no trace."""
    files = map(_open, _parts(path))
    return sum(file.metadata.num_rows for file in files if _model_of(file) == model)


def parquet_models(path: Path) -> list[str]:
    """The models that a part, or a folder of parts, holds traces of, sorted. Reads no trace."""
    return sorted({_model_of(_open(part)) for part in _parts(path)})


def _field(field: TraceField) -> pa.Field:
    described = {b"meaning": field.meaning.encode()}
    return pa.field(field.name, _TYPES[field.kind], field.nullable, metadata=described)


def _parts(path: Path) -> list[Path]:
    parts = sorted(path.rglob("part-*.parquet")) if path.is_dir() else [path]
    if not parts:
        raise DatasetError(f"{path}: no part-*.parquet in it; `ponder traces export` writes them")
    return parts


def _open(part: Path) -> pq.ParquetFile:
    """Raises DatasetError for what is no part, or one of a later version."""
    if not part.exists():
        raise DatasetError(f"{part}: No such file or directory")
    with _damage_named(part):
        file = pq.ParquetFile(part)
    metadata = file.metadata.metadata or {}
    if not {_VERSION, _MODEL, _LAST_ID} <= set(metadata):
        raise DatasetError(f"{part}: not written by `ponder traces export`")
    if (version := metadata[_VERSION].decode()) != str(TRACE_SCHEMA_VERSION):
        raise DatasetError(
            f"{part}: its schema is version {version}, this program reads {TRACE_SCHEMA_VERSION}"
        )
    return file


def _rows(file: pq.ParquetFile, part: Path) -> Iterator[dict[str, Any]]:
    with _damage_named(part):
        for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
            yield from batch.to_pylist()


@contextmanager
def _damage_named(part: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"{part}: no whole Parquet file: {error}") from error


def _model_of(file: pq.ParquetFile) -> str:
    name: bytes = file.metadata.metadata[_MODEL]
    return name.decode()


def _settlement(row: dict[str, Any], part: Path) -> Settlement:
    try:
        return from_row(row)
    except ValueError as error:
        raise DatasetError(f"{part}: trace {row['trace_id']}: {error}") from error
