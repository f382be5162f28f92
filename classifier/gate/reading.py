"""Logged requests from files and from the ledger."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from classifier.errors import DatasetError
from classifier.gate.rows import LoggedOutcome, tier_holding
from classifier.readers import json_records, outcome_of, outcome_of_record
from classifier.traces.parquet import is_parquet, read_parquet_traces
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.v1 import reasoner_pb2
from ponder.v1.budget_pb2 import TIER_SIMPLE, Tier
from ponder.v1.reasoner_pb2 import Rule

_AUTOMATIC_RULES = (
    reasoner_pb2.RULE_AUTOMATIC,
    reasoner_pb2.RULE_EXPLORATION,
    reasoner_pb2.RULE_DEGRADED_DEFAULT,
)


def read_logged(path: Path, model: str, budgets: Sequence[int]) -> Iterator[LoggedOutcome]:
    """The usable requests of one model, from JSON lines, a Parquet file or a folder of those.

    JSON records are those of classifier.readers.read_json_lines or of `ponder traces`; where one
    has no tier, it is the one whose budget (of `budgets`, simple first) holds its own. A record
    without finished_at_s stands in time where its id does, or its line. Raises DatasetError.
    """
    if not is_parquet(path):
        for number, (place, record) in enumerate(json_records(path)):
            if record["model"] == model:
                yield _of_record(record, place, number, budgets)
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
    reached = settlement.tier - TIER_SIMPLE
    if outcome is None or reached < 0:
        return None
    return LoggedOutcome(
        outcome=outcome,
        first_tier=reached - settlement.usage.escalations,
        escalations=settlement.usage.escalations,
        propensities=settlement.tier_propensities,
        is_automatic=settlement.rule in _AUTOMATIC_RULES,
        tenant=settlement.tenant,
        finished_at_s=settlement.finished_at_s,
    )


def _named(settlement: Settlement, place: str) -> LoggedOutcome | None:
    try:
        return logged_of(settlement)
    except DatasetError as error:
        raise DatasetError(f"{place}: {error}") from error


def _of_record(
    record: dict[str, Any], place: str, number: int, budgets: Sequence[int]
) -> LoggedOutcome:
    outcome = outcome_of_record(record, place)
    try:
        escalations = int(record.get("escalations", 0))
        reached = tier_holding(outcome.budget_tokens, budgets)
        if "tier" in record:
            reached = Tier.Value(record["tier"]) - TIER_SIMPLE
        return LoggedOutcome(
            outcome=outcome,
            first_tier=reached - escalations,
            escalations=escalations,
            propensities=tuple(map(float, record.get("tier_propensities", ()))),
            is_automatic="rule" in record and Rule.Value(record["rule"]) in _AUTOMATIC_RULES,
            tenant=str(record.get("tenant", "")),
            finished_at_s=float(record.get("finished_at_s", record.get("id", number))),
        )
    except (TypeError, ValueError, DatasetError) as error:
        raise DatasetError(f"{place}: {error}") from error
