"""Decisions as they were logged, from settlements of both versions and from a collector."""

import json

import pytest

from classifier.decisions import Decision
from classifier.errors import DatasetError
from classifier.gate.reading import logged_of, read_logged, read_logged_ledger
from classifier.gate.rows import LoggedRows
from classifier.traces.exporter import Exporter
from ponder.v1 import budget_pb2, reasoner_pb2
from tests.classifier.traces.conftest import MODEL, ledger, settle, trace

__all__ = ["ledger", "settle"]  # fixtures

RAISED = trace(
    tier=budget_pb2.TIER_COMPLEX,
    budget_tokens=2000,
    thinking_tokens=900,
    escalations=2,
    tier_propensities=(0.99, 0.01, 0.0, 0.0),
    finished_at_s=7.5,
)


def test_decision_is_the_tier_less_its_escalations():
    logged = logged_of(RAISED)

    assert logged is not None
    assert logged.finished_at_s == 7.5
    assert logged.outcome.decision == Decision(
        first_tier=0,
        escalations=2,
        propensities=(0.99, 0.01, 0.0, 0.0),
        is_automatic=True,
        tenant="acme",
    )


@pytest.mark.parametrize(
    ("rule", "is_automatic"),
    [
        (reasoner_pb2.RULE_EXPLORATION, True),
        (reasoner_pb2.RULE_DEGRADED_DEFAULT, True),
        (reasoner_pb2.RULE_EXPLICIT_TIER, False),
        (reasoner_pb2.RULE_EXPLICIT_BUDGET, False),
    ],
)
def test_only_automatic_decisions_may_be_raised(rule, is_automatic):
    logged = logged_of(trace(rule=rule))

    assert logged is not None
    assert logged.outcome.decision is not None
    assert logged.outcome.decision.is_automatic is is_automatic


def test_without_propensities_the_decision_is_taken_as_certain():
    logged = logged_of(trace(tier_propensities=()))

    assert logged is not None
    assert LoggedRows.of([logged]).data.propensities.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_what_nothing_can_be_learned_from_is_left_out():
    assert logged_of(trace(stop=budget_pb2.THINKING_STOP_UNSPECIFIED)) is None
    assert logged_of(trace(tier=budget_pb2.TIER_UNSPECIFIED)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"escalations": 2},  # of tier moderate
        {"tier_propensities": (0.5, 0.0, 0.5, 0.0)},  # moderate could not have happened
        {"tier_propensities": (0.5, 0.6, 0.0, 0.0)},
        {"tier_propensities": (0.0, 1.0)},
    ],
)
def test_decision_that_cannot_have_been_is_refused(changes):
    with pytest.raises(DatasetError, match=r"escalations|tier_propensities"):
        logged_of(trace(**changes))


async def test_files_and_ledger_say_the_same(tmp_path, ledger, settle):
    await settle(3, tier_propensities=(0.0, 0.9, 0.1, 0.0))
    exporter = Exporter(tmp_path, max_rows=2, with_prompts=False, advance=lambda: None)
    await exporter.export(ledger, MODEL)

    from_ledger = [row async for row in read_logged_ledger(ledger, MODEL)]

    assert len(from_ledger) == 3
    assert list(read_logged(tmp_path, MODEL)) == from_ledger


def test_budget_of_a_collector_was_fixed_beforehand(tmp_path):
    path = tmp_path / "traces.jsonl"
    record = {
        "id": 40,
        "prompt": "Reach 24.",
        "model": MODEL,
        "thinking_tokens": 80,
        "budget_tokens": 300,
        "stop": "THINKING_STOP_FINISHED",
    }
    path.write_text(json.dumps(record) + "\n")

    (logged,) = read_logged(path, MODEL)

    assert logged.outcome.decision is None
    assert logged.finished_at_s == 40
    path.write_text(json.dumps(record | {"tier": "TIER_SIMPLE", "escalations": 1}) + "\n")
    with pytest.raises(DatasetError, match=r"traces\.jsonl:1: tier -1"):
        list(read_logged(path, MODEL))
