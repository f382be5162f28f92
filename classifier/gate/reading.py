"""Logged requests from files and from the ledger."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from classifier.errors import DatasetError
from classifier.gate.rows import LoggedOutcome
from classifier.readers import json_records, outcome_of, outcome_of_record
from classifier.traces.parquet import is_parquet, read_parquet_traces
from ponder.ledger import Ledger
from ponder.settlement import Settlement


def read_logged(path: Path, model: str) -> Iterator[LoggedOutcome]:
    """The usable requests of one model, from JSON lines, a Parquet file or a folder of those.

    JSON records are those of classifier.readers.read_json_lines or of `ponder traces`. A record
    without finished_at_s stands in time where its id does, or its line. Raises DatasetError.
    """
    if not is_parquet(path):
        for number, (place, record) in enumerate(json_records(path)):
            if record["model"] == model:
                yield _of_record(record, place, number)
        return
    for trace_id, settlement in read_parquet_traces(path, model):
        if logged := _named(settlement, f"{path}: trace {trace_id}"):
            yield logged


async def read_logged_ledger(ledger: Ledger, model: str) -> AsyncIterator[LoggedOutcome]:
    """The usable requests of one model in Redis. Raises LedgerUnavailable, DatasetError."""
    async for trace_id, settlement in ledger.read_traces(model):
        if logged := _named(settlement, f"trace {trace_id}"):
            yield logged


def logged_of(settlement: Settlement) -> LoggedOutcome | None:
    """None where nothing can be learned from it: no stop, no features, no tier.

    Raises DatasetError.
    """
    outcome = outcome_of(settlement)
    if outcome is None or outcome.decision is None:
        return None
    return LoggedOutcome(outcome=outcome, finished_at_s=settlement.finished_at_s)


def _named(settlement: Settlement, place: str) -> LoggedOutcome | None:
    try:
        return logged_of(settlement)
    except DatasetError as error:
        raise DatasetError(f"{place}: {error}") from error


def _of_record(record: dict[str, Any], place: str, number: int) -> LoggedOutcome:
    outcome = outcome_of_record(record, place)
    try:
        finished_at_s = float(record.get("finished_at_s", record.get("id", number)))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{place}: finished_at_s, or id: {error}") from error
    return LoggedOutcome(outcome=outcome, finished_at_s=finished_at_s)
