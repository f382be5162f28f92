"""`ponder bench cycle`: its figures are those of gate and training; it tells what went wrong."""

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.dataset import Dataset
from classifier.evaluate import row_log_losses
from classifier.readers import outcome_of
from classifier.survival import smallest_sufficient_tier, survival_of
from ponder.bins import NUM_NEED_BINS
from ponder.ledger import Ledger, LedgerConfig
from ponder.v1.budget_pb2 import (
    THINKING_STOP_EXHAUSTED,
    THINKING_STOP_FINISHED,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
)
from tests.classifier.traces.conftest import MODEL, trace
from workers.bench.cycle_course import Cycle
from workers.bench.cycle_figures import (
    TIER_BUDGETS,
    Mean,
    Phase,
    Versus,
    log_loss,
    own_tier,
    utility,
)
from workers.bench.cycle_report import bench_report, broken, tables
from workers.bench.cycle_traffic import SHIFTED, USUAL, Health, questions
from workers.bench.cycle_worse import write_shuffled

TIERS = (TIER_SIMPLE, TIER_MODERATE, TIER_COMPLEX, TIER_RESEARCH)

hazards = st.lists(st.floats(0.0, 1.0), min_size=NUM_NEED_BINS, max_size=NUM_NEED_BINS).map(tuple)
needs = st.integers(1, 12_000)


def served(need: int, first_tier: int, **changes):
    """A trace of a request that was raised until its need, or every tier, was spent."""
    reached = max(first_tier, sum(need > budget for budget in TIER_BUDGETS[:-1]))
    is_open = need > TIER_BUDGETS[-1]
    return trace(
        tier=TIERS[reached],
        escalations=reached - first_tier,
        thinking_tokens=min(need, TIER_BUDGETS[-1]),
        budget_tokens=TIER_BUDGETS[reached],
        stop=THINKING_STOP_EXHAUSTED if is_open else THINKING_STOP_FINISHED,
        tier_propensities=tuple(float(tier == first_tier) for tier in range(4)),
        **{"predicted_miss": 0.1, **changes},
    )


@given(needs, st.integers(0, 3), hazards)
def test_log_loss_and_tier_are_those_of_the_classifier(need, first_tier, curve):
    found = served(need, first_tier, prior_hazards=curve)
    outcome = outcome_of(found)
    assert outcome is not None

    rows, row = np.array([curve]), Dataset.of([outcome])

    assert log_loss(found) == pytest.approx(row_log_losses(rows, row)[0])
    # Where the curve touches the limit, rounding decides.
    survival = survival_of(rows)
    if np.abs(survival - 0.1).min() > 1e-6:
        assert own_tier(found) == smallest_sufficient_tier(survival)[0]


@given(needs, st.integers(0, 3))
def test_the_smallest_tier_that_holds_the_need_is_worth_most(need, first_tier):
    values = [utility(tier, served(need, first_tier)) for tier in range(4)]

    best = min(3, sum(need > budget for budget in TIER_BUDGETS[:-1]))
    assert int(np.argmax(values)) == best
    assert values[best] == pytest.approx(0.9 * best)


def test_a_phase_counts_first_budgets_that_the_prediction_chose():
    found = Phase.of(
        [served(300, 0), served(300, 1), served(20, 0), served(20, 0, predicted_miss=None)]
    )

    assert (found.requests, found.covered.successes, found.covered.count) == (4, 2, 3)
    assert found.promised == pytest.approx(0.9)
    assert found.escalations == pytest.approx(0.25)
    assert found.first_budget_tokens == pytest.approx((50 + 500 + 50 + 50) / 4)
    assert found.thinking_tokens == pytest.approx(160)


def test_a_classifier_that_asks_for_the_right_tier_is_worth_its_escalations():
    sure_of_little = (1.0,) * NUM_NEED_BINS
    up_to_350 = (0.0,) * 10 + (1.0,) * (NUM_NEED_BINS - 10)
    old = [served(300, 0, prior_hazards=sure_of_little) for _ in range(5)]
    new = [served(300, 1, prior_hazards=up_to_350) for _ in range(5)]

    found = Versus.of(old, new)

    assert found.value_of_curves.value == found.value_served.value == pytest.approx(0.9)
    assert (found.covered.value, found.escalations.value) == (1.0, -1.0)
    assert found.thinking_tokens.value == 0.0
    assert found.log_loss.value < 0.0
    assert found.same_need.value == 1.0


@given(st.lists(st.tuples(needs, st.integers(0, 3)), min_size=2, max_size=20))
def test_a_classifier_differs_in_nothing_from_itself(asked):
    found = [served(*one) for one in asked]

    versus = Versus.of(found, found)

    for mean in (versus.covered, versus.escalations, versus.log_loss, versus.value_served):
        assert (mean.value, mean.low, mean.high) == (0.0, 0.0, 0.0)


def test_shifted_traffic_has_what_the_usual_never_has():
    usual, shifted = (
        Counter(question.family for question in islice(questions(mix, "7"), 300))
        for mix in (USUAL, SHIFTED)
    )

    new = {"system", "countdown-5", "countdown-6"}
    assert set(usual) == set(USUAL)
    assert set(shifted) == set(USUAL) | new
    assert 0.4 < sum(shifted[family] for family in new) / 300 < 0.6


def test_the_same_seed_asks_the_same():
    first, again = (
        [question.prompt for question in islice(questions(SHIFTED, "7"), 20)] for _ in range(2)
    )

    assert first == again


async def test_shuffled_traces_keep_prompts_and_outcomes_but_not_together(redis_url, tmp_path):
    ledger = Ledger.from_url(redis_url, LedgerConfig(timeout_s=20))
    settled = [
        trace(request_id=f"r{i}", features=(1, i), thinking_tokens=10 * i) for i in range(30)
    ]
    for record in settled:
        await ledger.settle(record)
    path = tmp_path / "shuffled.jsonl"

    await write_shuffled(ledger, MODEL, path)

    await ledger.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    dealt = [record["thinking_tokens"] for record in records]
    assert [tuple(record["features"]) for record in records] == [one.features for one in settled]
    assert sorted(dealt) == [one.usage.thinking_tokens for one in settled] != dealt


CHECKS = [
    {"name": "sharpness", "verdict": "passed", "remedy": "", "figures": {"difference": -0.5}},
    {"name": "value", "verdict": "refused", "remedy": "collect more", "figures": {}},
]


@pytest.fixture
def cycle() -> Cycle:
    """All went well."""
    phase, same = Phase.of([served(300, 0), served(20, 0)]), Mean(0.0, -0.1, 0.1)
    passed = {"passed": True, "num_rows": 1_100, "checks": CHECKS[:1]}
    refused = {"passed": False, "num_rows": 1_100, "checks": CHECKS}
    finding = {"name": "predicted median", "value": 0.4, "verdict": "alarm", "detail": "PSI"}
    return Cycle(
        phases={"usual": phase},
        drift={
            "usual": {"verdict": "ok", "advice": "nothing to do", "findings": []},
            "shifted": {"verdict": "alarm", "advice": "retrain", "findings": [finding]},
        },
        gates={"new": passed, "old": refused, "shuffled": refused},
        shadow={"compared": 10, "agreed": 7},
        versus=replace(Versus.of([served(300, 0)] * 2, [served(300, 1)] * 2), log_loss=same),
        forced=False,
        worse_promotions_refused=2,
        rollbacks=0,
        num_repeats=1,
        health=Health(asked=2),
    )


def test_a_loop_that_closed_has_nothing_to_tell(cycle):
    assert broken(cycle, is_judged=True) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"health": Health(asked=2, failed=1)}, "1 requests failed"),
        ({"health": Health(asked=2, degraded=1)}, "1 decisions were degraded"),
        ({"worse_promotions_refused": 1}, "a worse classifier was promoted"),
        ({"rollbacks": 1}, "rolled back"),
    ],
)
def test_what_must_never_be_is_told(cycle, changes, told):
    (reason,) = broken(replace(cycle, **changes), is_judged=False)

    assert told in reason


def test_what_few_requests_cannot_tell_is_told_of_many_only(cycle):
    quiet, alarm = cycle.drift["usual"], cycle.drift["shifted"]
    open_loop = replace(
        cycle,
        drift={"usual": alarm, "shifted": quiet},
        gates={**cycle.gates, "new": cycle.gates["old"]},
        forced=True,
    )

    assert broken(open_loop, is_judged=False) == []
    assert len(broken(open_loop, is_judged=True)) == 3
    assert any("value: collect more" in reason for reason in broken(open_loop, is_judged=True))


def test_figures_that_the_gate_did_not_come_to_are_no_numbers(cycle):
    report = bench_report(cycle)

    assert report.figures["gate, new/log_loss"] == -0.5
    assert report.intervals["gate, new/log_loss"] == pytest.approx((nan, nan), nan_ok=True)
    assert "gate, new/value" not in report.figures
    assert report.figures["gate, old/passed"] == 0.0
    assert len(list(tables(cycle))) == 3
