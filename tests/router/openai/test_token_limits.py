"""No request gets more tokens than its limit, whatever the router decides, then and later."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.bins import NUM_NEED_BINS
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING, TIER_MODERATE, TIER_SIMPLE
from router.errors import DeadlineTooShort
from router.openai.token_limits import AnswerShare, divide, limit_answer
from router.policy import Choice, Limits, PolicyConfig, Wish, choose, escalate
from router.survival import SurvivalCurve
from router.tiers import TIERS, TierTable

TABLE = TierTable()
EXPLORING = PolicyConfig(tiers=TABLE, default_tier=TIER_MODERATE, exploration=0.3)
SHARE = AnswerShare(max_tokens=1_024, reserve_tokens=256)

tiers = st.sampled_from(TIERS)
draws = st.floats(0.0, 1.0, exclude_max=True)
curves = st.lists(st.floats(0.0, 1.0), min_size=NUM_NEED_BINS, max_size=NUM_NEED_BINS).map(
    lambda hazards: SurvivalCurve.from_hazards(np.array(hazards))
)
moments = st.builds(
    Limits,
    closed_tiers=st.frozensets(st.sampled_from(TIERS[1:])),
    affordable_tokens=st.dictionaries(
        st.sampled_from((POOL_EASY, POOL_THINKING)), st.integers(0, 20_000)
    ),
)


def wish_of(request: pb.ReasonRequest) -> Wish:
    """As the router reads it."""
    return Wish(
        thinking_budget=request.thinking_budget if request.HasField("thinking_budget") else None,
        tier=request.tier if request.HasField("tier") else None,
        max_tier=request.max_tier if request.HasField("max_tier") else None,
        coverage=0.9,
    )


def told(choice: Choice, curve: SurvivalCurve | None) -> pb.Decision:
    """As the router's plan tells it."""
    budgets = TABLE.budgets if curve else ()
    survival = (
        pb.TierSurvival(tier=tier, budget_tokens=budget)
        for tier, budget in zip(TIERS, budgets, strict=False)
    )
    return pb.Decision(
        tier=choice.tier,
        budget_tokens=choice.budget_tokens,
        clamps=choice.clamps,
        survival=survival,
    )


def decided(budget_tokens: int, *clamps: pb.Clamp.ValueType, is_predicted: bool = True):
    choice = Choice(
        tier=TABLE.holding(budget_tokens),
        budget_tokens=budget_tokens,
        pool=POOL_EASY,
        rule=pb.RULE_AUTOMATIC,
        clamps=clamps,
        propensity=1.0,
        tier_propensities=(),
    )
    return told(choice, SurvivalCurve((1.0,) * (NUM_NEED_BINS + 1)) if is_predicted else None)


def divided(max_tokens: int, decision: pb.Decision) -> pb.ReasonRequest:
    request = pb.ReasonRequest()
    divide(request, max_tokens, decision, SHARE)
    return request


def escalated(choice: Choice, wish: Wish, limits: Limits) -> Iterator[Choice]:
    raised: Choice | None = choice
    while raised is not None:
        yield raised
        raised = escalate(raised, wish, limits, TABLE)


@given(
    max_tokens=st.integers(1, 20_000),
    asked=st.none() | tiers,
    entitled=tiers,
    curve=st.none() | curves,
    then=moments,
    later=moments,
    data=st.tuples(draws, draws),
)
def test_thinking_and_answer_never_exceed_the_limit(
    max_tokens, asked, entitled, curve, then, later, data
):
    tier = min(asked, entitled) if asked else None
    request = pb.ReasonRequest(tier=tier)
    then, later = replace(then, entitled_tier=entitled), replace(later, entitled_tier=entitled)

    with contextlib.suppress(DeadlineTooShort):
        plan = choose(wish_of(request), curve, then, EXPLORING, data[0])
        divide(request, max_tokens, told(plan, curve), SHARE)
        wish = wish_of(request)
        choice = choose(wish, curve, later, EXPLORING, data[1])
        most = max(each.budget_tokens for each in escalated(choice, wish, later))

        assert 1 <= request.max_answer_tokens <= SHARE.max_tokens
        assert most + request.max_answer_tokens <= max_tokens


def test_a_limit_that_holds_everything_leaves_the_request_automatic():
    request = divided(16_384, decided(50))

    assert not request.HasField("thinking_budget")
    assert (request.max_tier, request.max_answer_tokens) == (TIERS[-1], 1_024)


def test_a_limit_above_the_budget_leaves_it_to_the_router_and_holds_escalation_back():
    request = divided(2_000, decided(500))

    assert not request.HasField("thinking_budget")
    assert (request.max_tier, request.max_answer_tokens) == (TIER_MODERATE, 1_024)


def test_without_a_prediction_there_is_no_room_to_escalate():
    request = divided(16_384, decided(50, is_predicted=False))

    assert request.max_tier == TIER_SIMPLE


@pytest.mark.parametrize(
    ("max_tokens", "thinking", "answer"),
    [(1, 0, 1), (2, 1, 1), (9, 4, 5), (100, 50, 50), (512, 256, 256), (1_000, 744, 256)],
)
def test_a_limit_below_the_budget_is_divided(max_tokens, thinking, answer):
    request = divided(max_tokens, decided(2_000))

    assert (request.thinking_budget, request.max_answer_tokens) == (thinking, answer)


def test_a_budget_that_the_deadline_cut_is_not_left_to_grow():
    request = divided(700, decided(400, pb.CLAMP_DEADLINE))

    assert (request.thinking_budget, request.max_answer_tokens) == (400, 300)


def test_without_thinking_all_of_the_limit_is_the_answers():
    request = pb.ReasonRequest()
    limit_answer(request, 300, SHARE)

    assert request.max_answer_tokens == 300


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_tokens"])
@pytest.mark.parametrize("max_tokens", [1, 40, 300, 4_096])
async def test_the_worker_is_told_no_more_than_the_limit(start_door, name, max_tokens):
    async with start_door() as door:
        await door.complete(**{name: max_tokens})
        (asked,) = door.stack.easy.requests

    assert asked.thinking_budget + asked.max_answer_tokens <= max_tokens


async def test_the_smaller_of_two_limits_counts(start_door):
    async with start_door() as door:
        await door.complete(max_completion_tokens=900, max_tokens=100, reasoning_effort="none")
        (asked,) = door.stack.easy.requests

    assert (asked.thinking_budget, asked.max_answer_tokens) == (0, 100)
