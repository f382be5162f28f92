"""`ponder plan` against a real server, and how a decision is drawn."""

import json

from hypothesis import given
from hypothesis import strategies as st

from ponder.cli.words import bar, decision_line, decision_table
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import POOL_EASY, TIER_MODERATE
from tests.cli.conftest import decision


def test_plan_draws_the_survival_at_each_tier_and_marks_the_chosen_one(ponder):
    lines = ponder("plan", "q").stdout.splitlines()

    rows = {words[0]: words for words in map(str.split, lines) if words[1:2] and words[1].isdigit()}
    assert list(rows) == ["simple", "moderate", "complex", "research"]
    assert rows["simple"][1] == "50"
    assert rows["simple"][-1] == "75.0%"
    assert rows["moderate"][-3:] == ["8.0%", "<-", "chosen"]
    assert len(rows["simple"][2]) > len(rows["moderate"][2]) > 0


def test_plan_tells_the_predicted_need(ponder):
    assert "half need up to 120, 90 % up to 480, 99 % up to 2000" in ponder("plan", "q").stdout


def test_plan_as_json_is_the_decision(ponder):
    document = json.loads(ponder("plan", "q", "--json").stdout)

    assert (document["tier"], document["budget_tokens"]) == ("TIER_MODERATE", 500)
    assert [entry["survival"] for entry in document["survival"]] == [0.75, 0.08, 0.01, 0.0]


def test_plan_sends_the_request_as_ask_would(ponder, router):
    ponder("plan", "q", "--tier", "complex", "--seed", "3")
    ponder("ask", "q", "--tier", "complex", "--seed", "3")

    planned, asked = router.requests
    assert planned == asked


def test_a_decision_without_a_prediction_says_so_and_draws_no_bars():
    text = decision_table(
        pb.Decision(
            tier=TIER_MODERATE,
            budget_tokens=500,
            pool=POOL_EASY,
            rule=pb.RULE_DEGRADED_DEFAULT,
            degraded=True,
            degraded_reason="no classifier",
        )
    )

    assert "degraded: no classifier" in text
    assert "%" not in text


def test_every_clamp_is_named():
    clamps = [pb.CLAMP_ENTITLEMENT, pb.CLAMP_MAX_TIER, pb.CLAMP_DEADLINE, pb.CLAMP_LOAD]

    line = decision_line(decision(clamps=clamps))

    assert line.endswith("lowered by the tenant's plan, --max-tier, the deadline, the load")


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_longer_bar_means_a_larger_share(one, other):
    small, large = sorted((one, other))

    assert len(bar(small)) <= len(bar(large)) <= len(bar(1.0)) == 30


@given(st.floats(allow_nan=False))
def test_a_bar_stays_within_its_width(share):
    assert 0 <= len(bar(share, 10)) <= 10
