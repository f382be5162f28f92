"""`ponder bench gate`, on traces of a simulated model: estimates beside the truth."""

import json
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner

from classifier.bench.gate import LOGGINGS, gate
from classifier.bench.simulated_logs import Logging, simulate_logs
from classifier.decisions import Decision
from classifier.gate.rows import LoggedOutcome
from ponder.bins import stopped_by_itself
from tests.classifier.oracle import ask

BETTER, CONSTANT = "five times the prompts", "one curve for all"


@pytest.fixture(scope="module")
def figures(traces):
    result = CliRunner().invoke(gate, ["--traces", str(traces), "--quick", "--json", "-"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["figures"]


def test_value_is_estimated_as_the_whole_traces_have_it(figures):
    assert figures[f"{BETTER}/value"] > 0.0 > figures[f"{CONSTANT}/value"]
    for candidate in (BETTER, CONSTANT):
        truth = figures[f"{candidate}/value"]
        all_raised, half_raised, *_ = LOGGINGS
        assert figures[f"{candidate}/{all_raised}/value"] == pytest.approx(truth, abs=1e-9)
        assert figures[f"{candidate}/{half_raised}/value"] == pytest.approx(truth, abs=0.03)
        assert figures[f"{candidate}/{half_raised}/interval_holds"] == 1.0


def test_evidence_shrinks_with_what_the_logs_tell(figures):
    shown = [figures[f"{CONSTANT}/{logging}/effective_rows"] for logging in LOGGINGS]

    assert shown[0] == max(shown)
    assert shown[2] == min(shown) < 0.2 * shown[0]  # none raised, hardly explored


def test_coverage_needs_the_weights(figures):
    logging = next(iter(LOGGINGS))
    truth = figures[f"{CONSTANT}/coverage_error"]

    assert figures[f"{CONSTANT}/{logging}/coverage_error"] == pytest.approx(truth, abs=1e-9)
    assert abs(figures[f"{CONSTANT}/{logging}/plain_coverage_error"] - truth) > 0.03


def test_table_has_a_row_per_candidate_and_logging(traces):
    result = CliRunner().invoke(gate, ["--traces", str(traces), "--quick"])

    assert result.exit_code == 0
    assert len(result.stdout.strip().splitlines()) == 2 + 2 * (1 + len(LOGGINGS))


def test_file_of_no_traces_is_refused(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text("")

    result = CliRunner().invoke(gate, ["--traces", str(path)])

    assert result.exit_code == 1
    assert "traces of one model are needed" in result.output


@pytest.mark.parametrize("goes_on", [0.0, 0.5, 1.0])
def test_simulated_logs_are_what_a_router_would_have_logged(goes_on):
    rng = Random(0)
    questions = [ask(rng) for _ in range(400)]
    outcomes = [question.outcome() for question in questions]
    tiers = np.arange(400) % 4
    logging = Logging(exploration=0.3, goes_on=goes_on)

    logged = simulate_logs(outcomes, tiers, logging, seed=1)

    promoted = np.array([decision_of(row).first_tier for row in logged]) - tiers
    assert set(promoted[tiers < 3]) == {0, 1}
    assert promoted[tiers < 3].mean() == pytest.approx(0.3, abs=0.08)
    for row, question, tier in zip(logged, questions, tiers, strict=True):
        decision = decision_of(row)
        reached, first = decision.reached_tier, decision.first_tier
        assert decision.propensities[first] == pytest.approx(
            1.0 if tier == 3 else 0.3 if first > tier else 0.7
        )
        assert row.outcome.budget_tokens == logging.budgets[reached]
        assert stopped_by_itself(row.outcome.stop) == (
            question.need_tokens <= row.outcome.budget_tokens
        )
        if decision.escalations:
            assert question.need_tokens > logging.budgets[reached - 1]
            assert goes_on > 0.0
        if goes_on == 1.0:
            assert reached == 3 or question.need_tokens <= logging.budgets[reached]


def decision_of(row: LoggedOutcome) -> Decision:
    assert row.outcome.decision is not None
    return row.outcome.decision
