"""Where traces come from: JSON lines of a collector, exported Parquet, or the ledger itself."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classifier.columns import Columns, Outcome, in_columns
from classifier.decisions import Decision
from classifier.errors import DatasetError
from classifier.features import FEATURE_VERSION, encode
from classifier.traces.columns import PARQUET_COLUMNS, columns_of
from classifier.traces.parquet import is_parquet, parquet_models, read_parquet_columns
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop

_COUNTS = ("thinking_tokens", "budget_tokens")


def read_columns(path: Path, model: str) -> Iterator[Columns]:
    """The usable outcomes of one model, from JSON lines, a Parquet file or a folder of those.

    Raises DatasetError.
    """
    if is_parquet(path):
        for batch in read_parquet_columns(path, model, PARQUET_COLUMNS):
            yield columns_of(batch, path)
    else:
        yield from in_columns(read_json_lines(path, model))


def read_json_lines(path: Path, model: str) -> Iterator[Outcome]:
    """The outcomes of one model. A record holds

        {"prompt": str, "model": str, "thinking_tokens": int, "budget_tokens": int,
         "stop": "THINKING_STOP_FINISHED", "family": str}

    or "features" (the ids) in place of "prompt"; family and other fields are optional. A record
    with a tier, as `ponder traces` writes them, says how its budget came about, see Decision.
    Raises DatasetError naming file, line, field and remedy.
    """
    for place, record in json_records(path):
        if record["model"] == model:
            yield outcome_of_record(record, place)


async def read_ledger(ledger: Ledger, model: str) -> AsyncIterator[Outcome | None]:
    """The outcomes of one model, None for each trace that nothing can be learned from.

    Raises LedgerUnavailable, DatasetError.
    """
    async for trace_id, settlement in ledger.read_traces(model):
        try:
            yield outcome_of(settlement)
        except DatasetError as error:
            raise DatasetError(f"trace {trace_id}: {error}") from error


def outcome_of(settlement: Settlement) -> Outcome | None:
    """None without a stop, and when the features are of another version and no prompt was kept.

    Raises DatasetError for a decision that cannot have been.
    """
    ids = settlement.features
    if ids[:1] != (FEATURE_VERSION,) and settlement.prompt is not None:
        ids = tuple(encode(settlement.prompt).tolist())
    stopped = settlement.stop != budget_pb2.THINKING_STOP_UNSPECIFIED
    if not stopped or ids[:1] != (FEATURE_VERSION,):
        return None
    return Outcome(
        ids=ids,
        thinking_tokens=settlement.usage.thinking_tokens,
        budget_tokens=settlement.budget_tokens,
        stop=settlement.stop,
        family="",
        decision=Decision.of(settlement),
        prompt=settlement.prompt or "",
    )


def models_in(paths: Sequence[Path]) -> list[str]:
    """The models that the files hold traces of, sorted."""
    return sorted({model for path in paths for model in _models_in(path)})


def values_in(path: Path, model: str, field: str) -> list[Any]:
    """A field of each of a model's JSON records, None where it is missing."""
    return [record.get(field) for _, record in json_records(path) if record["model"] == model]


def json_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record of JSON lines, with the place it stands in. Raises DatasetError."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                place = f"{path}:{number}"
                yield place, _parse(line, place)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8: {error}") from error


def num_lines(path: Path) -> int:
    """Of JSON lines, of all models. Raises DatasetError."""
    try:
        with path.open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error


def _models_in(path: Path) -> set[str]:
    if is_parquet(path):
        return set(parquet_models(path))
    return {record["model"] for _, record in json_records(path)}


def _parse(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DatasetError(f"{place}: not JSON ({error}): remove the line") from error
    if not isinstance(record, dict) or not isinstance(record.get("model"), str):
        raise DatasetError(f"{place}: model is missing: every record names the reasoning model")
    return record


def spending_of(record: Mapping[str, Any], place: str) -> tuple[int, int, ThinkingStop.ValueType]:
    """Thinking tokens, budget and stop. Raises DatasetError naming the field."""
    thinking_tokens, budget_tokens = (_count(record, name, place) for name in _COUNTS)
    return thinking_tokens, budget_tokens, _stop(record, place)


def outcome_of_record(record: Mapping[str, Any], place: str) -> Outcome:
    """What read_json_lines makes of one record. Raises DatasetError naming place and field."""
    thinking_tokens, budget_tokens, stop = spending_of(record, place)
    try:
        decision = Decision.of_record(record)
    except DatasetError as error:
        raise DatasetError(f"{place}: {error}") from error
    prompt = record.get("prompt")
    return Outcome(
        ids=_ids(record, place),
        thinking_tokens=thinking_tokens,
        budget_tokens=budget_tokens,
        stop=stop,
        family=str(record.get("family", "")),
        decision=decision,
        prompt=prompt if isinstance(prompt, str) else "",
    )


def _count(record: Mapping[str, Any], name: str, place: str) -> int:
    value = record.get(name)
    if type(value) is not int or value < 0:
        raise DatasetError(f"{place}: {name} is {value!r}, must be an integer of 0 or more")
    return value


def _stop(record: Mapping[str, Any], place: str) -> ThinkingStop.ValueType:
    name = record.get("stop")
    known = [key for key in ThinkingStop.keys() if key != "THINKING_STOP_UNSPECIFIED"]  # noqa: SIM118  not a dict
    if name not in known:
        raise DatasetError(f"{place}: stop is {name!r}, must be one of {', '.join(known)}")
    return ThinkingStop.Value(name)


def _ids(record: Mapping[str, Any], place: str) -> tuple[int, ...]:
    if isinstance(record.get("prompt"), str):
        return tuple(encode(record["prompt"]).tolist())
    ids = record.get("features")
    if not isinstance(ids, list) or not all(type(value) is int for value in ids):
        raise DatasetError(f"{place}: neither prompt (text) nor features (list of ids) is given")
    return tuple(ids)
