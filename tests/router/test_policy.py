"""The policy, in the order of its precedence: explicit budget, explicit tier, automatic, clamps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from ponder.corrections import MAX_SHIFT
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import (
    POOL_EASY,
    POOL_THINKING,
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
)
from router.errors import DeadlineTooShort, NotEntitled
from router.policy import (
    Choice,
    Limits,
    PolicyConfig,
    Wish,
    affordable_tokens,
    choose,
    escalate,
)
from router.survival import SurvivalCurve
from router.tiers import TIERS, TierTable

TABLE = TierTable()
CONFIG = PolicyConfig(tiers=TABLE, default_tier=TIER_MODERATE, exploration=0.0)
EXPLORING = replace(CONFIG, exploration=0.1)
FREE = Limits(affordable_tokens={})
EXPLORE, STAY = 0.0, 0.999
EXPLICIT = (pb.RULE_EXPLICIT_BUDGET, pb.RULE_EXPLICIT_TIER)


def needing(tokens: int) -> SurvivalCurve:
    """Surely more than the edge below `tokens`, surely not more than the one above."""
    return SurvivalCurve((1.0, *(float(edge < tokens) for edge in NEED_BIN_EDGES)))


def wish(**fields) -> Wish:
    return Wish(**{"coverage": 0.9, **fields})


def decide(asked=None, curve=None, limits=FREE, config=CONFIG, draw=STAY) -> Choice:
    return choose(asked or wish(), curve, limits, config, draw)


tiers = st.sampled_from(TIERS)
curves = st.lists(st.floats(0.0, 1.0), min_size=NUM_NEED_BINS, max_size=NUM_NEED_BINS).map(
    lambda hazards: SurvivalCurve.from_hazards(np.array(hazards))
)
wishes = st.builds(
    Wish,
    thinking_budget=st.none() | st.integers(0, 10_000),
    tier=st.none() | tiers,
    max_tier=st.none() | tiers,
    coverage=st.floats(0.01, 0.99),
    worth_tokens=st.sampled_from((1.0, 500.0, 5_000.0, math.inf)),
)
limits = st.builds(
    Limits,
    entitled_tier=tiers,
    closed_tiers=st.frozensets(st.sampled_from(TIERS[1:])),
    affordable_tokens=st.dictionaries(
        st.sampled_from((POOL_EASY, POOL_THINKING)), st.integers(0, 20_000)
    ),
    queued_tokens=st.dictionaries(
        st.sampled_from((POOL_EASY, POOL_THINKING)), st.integers(0, 20_000)
    ),
)
draws = st.floats(0.0, 1.0, exclude_max=True)


def allowed(call, *arguments):
    """The choice, or None where the policy rightly refuses."""
    try:
        return call(*arguments)
    except NotEntitled:
        return None


# Precedence


def test_an_explicit_budget_decides_before_an_explicit_tier():
    choice = decide(wish(thinking_budget=700, tier=TIER_SIMPLE), needing(9_000))

    assert (choice.rule, choice.budget_tokens) == (pb.RULE_EXPLICIT_BUDGET, 700)


def test_an_explicit_tier_decides_before_the_prediction():
    choice = decide(wish(tier=TIER_COMPLEX), needing(20))

    assert (choice.rule, choice.tier) == (pb.RULE_EXPLICIT_TIER, TIER_COMPLEX)


@pytest.mark.parametrize(
    ("need", "tier"),
    [
        (20, TIER_SIMPLE),
        (50, TIER_SIMPLE),
        (51, TIER_MODERATE),
        (700, TIER_COMPLEX),
        (20_000, TIER_RESEARCH),
    ],
)
def test_the_smallest_sufficient_tier_is_taken(need, tier):
    choice = decide(curve=needing(need))

    assert (choice.rule, choice.tier) == (pb.RULE_AUTOMATIC, tier)
    assert choice.budget_tokens == TABLE.budget(tier)


def test_a_higher_coverage_takes_a_larger_tier():
    curve = SurvivalCurve((1.0, *np.linspace(0.5, 0.01, NUM_NEED_BINS).tolist()))

    assert decide(wish(coverage=0.6), curve).tier < decide(wish(coverage=0.97), curve).tier


def test_without_a_prediction_the_default_tier_is_taken():
    choice = decide(curve=None)

    assert (choice.rule, choice.tier) == (pb.RULE_DEGRADED_DEFAULT, TIER_MODERATE)


@pytest.mark.parametrize(
    ("budget", "tier", "pool"),
    [
        (0, TIER_SIMPLE, POOL_EASY),
        (50, TIER_SIMPLE, POOL_EASY),
        (51, TIER_MODERATE, POOL_EASY),
        (501, TIER_COMPLEX, POOL_THINKING),
        (10_000, TIER_RESEARCH, POOL_THINKING),
    ],
)
def test_an_explicit_budget_goes_to_the_smallest_tier_that_holds_it(budget, tier, pool):
    choice = decide(wish(thinking_budget=budget))

    assert (choice.tier, choice.pool, choice.budget_tokens) == (tier, pool, budget)


# Clamps, in the order of application


def test_an_explicit_budget_above_the_plan_is_refused_by_name():
    with pytest.raises(NotEntitled, match=r"thinking_budget is 501.*moderate.*at most 500"):
        decide(wish(thinking_budget=501), limits=replace(FREE, entitled_tier=TIER_MODERATE))


def test_an_explicit_tier_above_the_plan_is_refused_by_name():
    with pytest.raises(NotEntitled, match=r"tier is research.*complex"):
        decide(wish(tier=TIER_RESEARCH), limits=replace(FREE, entitled_tier=TIER_COMPLEX))


def test_an_automatic_decision_above_the_plan_is_lowered_and_says_so():
    choice = decide(curve=needing(9_000), limits=replace(FREE, entitled_tier=TIER_MODERATE))

    assert (choice.tier, choice.clamps) == (TIER_MODERATE, (pb.CLAMP_ENTITLEMENT,))


def test_max_tier_lowers_even_an_explicit_budget():
    choice = decide(wish(thinking_budget=9_000, max_tier=TIER_MODERATE))

    assert (choice.budget_tokens, choice.clamps) == (500, (pb.CLAMP_MAX_TIER,))


def test_the_deadline_lowers_to_what_the_pool_can_do_in_time():
    choice = decide(curve=needing(9_000), limits=Limits(affordable_tokens={POOL_THINKING: 800}))

    assert (choice.tier, choice.budget_tokens) == (TIER_COMPLEX, 800)
    assert choice.clamps == (pb.CLAMP_DEADLINE,)


def test_the_deadline_counts_at_the_speed_of_the_pool_that_is_reached():
    slow_easy = Limits(affordable_tokens={POOL_THINKING: 300, POOL_EASY: 20})

    assert decide(curve=needing(9_000), limits=slow_easy).budget_tokens == 20


def test_no_time_for_an_answer_is_refused():
    with pytest.raises(DeadlineTooShort, match="allow more time"):
        decide(limits=Limits(affordable_tokens={POOL_EASY: -1, POOL_THINKING: -1}))


def test_load_lowers_after_the_deadline():
    choice = decide(
        curve=needing(9_000),
        limits=Limits(affordable_tokens={POOL_THINKING: 4_000}, closed_tiers=frozenset(TIERS[1:])),
    )

    assert (choice.tier, choice.budget_tokens) == (TIER_SIMPLE, 50)
    assert choice.clamps == (pb.CLAMP_DEADLINE, pb.CLAMP_LOAD)


@pytest.mark.parametrize(
    ("need", "closed", "tier"),
    [
        (9_000, {TIER_RESEARCH}, TIER_COMPLEX),
        (9_000, {TIER_COMPLEX, TIER_RESEARCH}, TIER_MODERATE),
        (9_000, {TIER_MODERATE}, TIER_RESEARCH),
        (300, {TIER_MODERATE, TIER_RESEARCH}, TIER_SIMPLE),
    ],
)
def test_what_was_meant_for_a_closed_tier_gets_the_largest_open_one_below(need, closed, tier):
    bounds = Limits(affordable_tokens={}, closed_tiers=frozenset(closed))

    assert decide(curve=needing(need), limits=bounds).tier == tier


def test_what_the_queue_takes_of_the_deadline_is_told_as_load():
    bounds = Limits(affordable_tokens={POOL_THINKING: 4_000}, queued_tokens={POOL_THINKING: 900})
    choice = decide(curve=needing(9_000), limits=bounds)

    assert (choice.tier, choice.budget_tokens) == (TIER_COMPLEX, 900)
    assert choice.clamps == (pb.CLAMP_DEADLINE, pb.CLAMP_LOAD)


def test_all_clamps_are_told_in_their_order():
    choice = decide(
        wish(max_tier=TIER_COMPLEX),
        needing(20_000),
        Limits(
            entitled_tier=TIER_RESEARCH,
            closed_tiers=frozenset({TIER_COMPLEX, TIER_RESEARCH}),
            affordable_tokens={POOL_THINKING: 900},
        ),
    )

    assert choice.clamps == (pb.CLAMP_MAX_TIER, pb.CLAMP_DEADLINE, pb.CLAMP_LOAD)


@given(wishes, st.none() | curves, limits, draws)
def test_no_limit_is_ever_exceeded(asked, curve, bounds, draw):
    choice = allowed(choose, asked, curve, bounds, EXPLORING, draw)
    if choice is None:
        return

    ceilings = [bounds.entitled_tier, asked.max_tier]
    assert choice.tier not in bounds.closed_tiers
    assert all(choice.tier <= ceiling for ceiling in ceilings if ceiling)
    assert 0 <= choice.budget_tokens <= bounds.under_load().get(choice.pool, 10_000)
    assert choice.budget_tokens <= TABLE.budget(choice.tier)
    assert choice.pool == TABLE.pool(choice.tier)


@given(wishes, st.none() | curves, limits, draws)
def test_a_lowered_budget_is_never_silent(asked, curve, bounds, draw):
    free = choose(asked, curve, FREE, CONFIG, draw)
    choice = allowed(choose, replace(asked, max_tier=None), curve, bounds, CONFIG, draw)

    if choice is not None and asked.max_tier is None:
        assert (choice.budget_tokens < free.budget_tokens) == bool(choice.clamps)


@given(wishes.filter(lambda w: w.thinking_budget is not None), curves, limits, draws)
def test_an_explicit_budget_is_a_cap(asked, curve, bounds, draw):
    choice = allowed(choose, asked, curve, bounds, EXPLORING, draw)

    assert choice is None or choice.budget_tokens <= asked.thinking_budget


# Worth


def ending(**shares: float) -> SurvivalCurve:
    """Survival at the tier budgets; between them a straight line."""
    budgets = [0, *TABLE.budgets]
    return SurvivalCurve(
        (1.0, *np.interp(NEED_BIN_EDGES, budgets, [1.0, *shares.values()]).tolist())
    )


HOPELESS = ending(simple=1.0, moderate=0.9, complex=0.88, research=0.85)


def test_thinking_that_costs_more_than_the_answer_is_worth_is_not_begun():
    # One in ten ends within 500 tokens: about 4,300 tokens for each that does. Few end later.
    choice = decide(wish(worth_tokens=5_000), HOPELESS)

    assert (choice.tier, choice.clamps) == (TIER_MODERATE, (pb.CLAMP_WORTH,))
    assert choice.worth_tier == TIER_MODERATE


@pytest.mark.parametrize("worth_tokens", [500_000, math.inf])
def test_an_answer_that_is_worth_it_is_thought_about_to_the_end(worth_tokens):
    choice = decide(wish(worth_tokens=worth_tokens), HOPELESS)

    assert (choice.tier, choice.worth_tier, choice.clamps) == (TIER_RESEARCH, TIER_RESEARCH, ())


def test_a_dear_tier_is_passed_on_the_way_to_a_cheap_one():
    late = ending(simple=0.9, moderate=0.9, complex=0.0, research=0.0)

    assert decide(wish(worth_tokens=2_500), late).tier == TIER_COMPLEX


def test_escalation_ends_where_more_is_not_worth_it():
    asked = wish(worth_tokens=5_000, coverage=0.05)
    first = decide(asked, HOPELESS)

    assert first.tier == TIER_MODERATE
    assert escalate(first, asked, FREE, TABLE) is None


def test_what_is_not_worth_it_is_still_explored():
    explored = decide(wish(worth_tokens=5_000), HOPELESS, config=EXPLORING, draw=EXPLORE)

    assert (explored.tier, explored.rule) == (TIER_COMPLEX, pb.RULE_EXPLORATION)


@pytest.mark.parametrize("asked", [wish(tier=TIER_RESEARCH), wish(thinking_budget=9_000)])
def test_what_was_asked_for_by_name_is_not_weighed(asked):
    choice = decide(replace(asked, worth_tokens=1), HOPELESS)

    assert not choice.clamps


@given(curves, st.floats(0.01, 0.99), st.floats(1.0, 1e6), st.floats(1.0, 10.0))
def test_a_dearer_answer_is_never_given_less(curve, coverage, worth_tokens, factor):
    cheap = decide(Wish(coverage=coverage, worth_tokens=worth_tokens), curve)
    dear = decide(Wish(coverage=coverage, worth_tokens=worth_tokens * factor), curve)

    assert cheap.tier <= dear.tier
    assert cheap.worth_tier <= dear.worth_tier


# Exploration


def test_a_share_of_automatic_decisions_is_promoted_one_tier():
    choice = decide(curve=needing(20), config=EXPLORING, draw=EXPLORE)

    assert (choice.tier, choice.rule) == (TIER_MODERATE, pb.RULE_EXPLORATION)


@given(
    curves,
    st.lists(st.floats(-MAX_SHIFT, MAX_SHIFT), min_size=4, max_size=4),
    st.floats(0.01, 0.99),
)
def test_a_correction_moves_the_tier_no_further_than_its_bounds_do(curve, shifts, coverage):
    """Whatever Redis holds is read as shifts like these, see tests/proto/test_corrections.py."""
    lowest, highest = (
        decide(wish(coverage=coverage), curve.corrected(TABLE.budgets, [bound] * 4)).tier
        for bound in (-MAX_SHIFT, MAX_SHIFT)
    )

    chosen = decide(wish(coverage=coverage), curve.corrected(TABLE.budgets, shifts)).tier

    assert lowest <= chosen <= highest


def test_what_the_prediction_alone_decided_tells_its_probability():
    curve = needing(300)
    lowered = decide(curve=curve, asked=wish(max_tier=TIER_SIMPLE))
    explored = decide(curve=curve, config=EXPLORING, draw=EXPLORE)
    stayed = decide(curve=curve, config=EXPLORING)
    raised = escalate(stayed, wish(), FREE, TABLE)

    assert stayed.predicted_miss == curve.at(500) == 0.0
    assert raised is not None
    assert raised.predicted_miss == 0.0
    assert lowered.predicted_miss is explored.predicted_miss is None
    assert decide().predicted_miss is None
    assert decide(wish(tier=TIER_SIMPLE), curve).predicted_miss is None


def test_at_the_top_nothing_is_promoted_and_the_decision_is_certain():
    choice = decide(curve=needing(20_000), config=EXPLORING, draw=EXPLORE)

    assert (choice.rule, choice.propensity) == (pb.RULE_AUTOMATIC, 1.0)


def test_exploration_respects_the_limits():
    capped = decide(wish(max_tier=TIER_SIMPLE), needing(20), config=EXPLORING, draw=EXPLORE)

    assert (capped.tier, capped.propensity) == (TIER_SIMPLE, 1.0)


@given(wishes, st.none() | curves, limits)
def test_the_propensities_of_all_outcomes_sum_to_one(asked, curve, bounds):
    stay = allowed(choose, asked, curve, bounds, EXPLORING, STAY)
    promoted = allowed(choose, asked, curve, bounds, EXPLORING, EXPLORE)
    if stay is None or promoted is None:
        return

    outcomes = {(c.tier, c.budget_tokens): c.propensity for c in (stay, promoted)}
    assert sum(outcomes.values()) == pytest.approx(1.0)
    tiers_of = {c.tier: c.propensity for c in (stay, promoted)}
    for choice in (stay, promoted):
        assert choice.tier_propensities == tuple(tiers_of.get(tier, 0.0) for tier in TIERS)
    assert promoted.tier - stay.tier in (0, 1)


@given(wishes, curves, limits)
def test_explicit_requests_do_not_explore(asked, curve, bounds):
    choice = allowed(choose, asked, curve, bounds, EXPLORING, EXPLORE)

    if choice is not None and choice.rule in EXPLICIT:
        assert choice.propensity == 1.0


# Escalation


def test_an_automatic_decision_goes_up_one_tier_at_a_time():
    first = decide(curve=needing(20))
    second = escalate(first, wish(), FREE, TABLE)
    third = second and escalate(second, wish(), FREE, TABLE)

    assert second is not None
    assert (second.tier, second.budget_tokens) == (TIER_MODERATE, 500)
    assert third is not None
    assert (third.tier, third.pool) == (TIER_COMPLEX, POOL_THINKING)


@pytest.mark.parametrize("asked", [wish(thinking_budget=20), wish(tier=TIER_SIMPLE)])
def test_explicit_budgets_and_tiers_are_not_raised(asked):
    assert escalate(decide(asked), asked, FREE, TABLE) is None


def test_a_deadline_that_affords_part_of_the_next_tier_clamps_it():
    raised = escalate(
        decide(curve=needing(300)), wish(), Limits(affordable_tokens={POOL_THINKING: 900}), TABLE
    )

    assert raised is not None
    assert (raised.budget_tokens, raised.clamps) == (900, (pb.CLAMP_DEADLINE,))


@given(wishes, st.none() | curves, limits)
def test_escalation_gives_more_and_stays_within_every_limit(asked, curve, bounds):
    choice = allowed(choose, asked, curve, bounds, CONFIG, STAY)
    raised = choice and escalate(choice, asked, bounds, TABLE)
    if not raised:
        return

    assert raised.budget_tokens > choice.budget_tokens
    assert raised.budget_tokens <= bounds.under_load().get(raised.pool, 10_000)
    ceilings = [bounds.entitled_tier, asked.max_tier]
    assert raised.tier not in bounds.closed_tiers
    assert all(raised.tier <= ceiling for ceiling in ceilings if ceiling)
    assert raised.tier == TABLE.holding(raised.budget_tokens)


# What a deadline affords


def test_the_answers_reserve_is_kept():
    assert affordable_tokens(left_s=2.0, tokens_per_s=100, reserve_tokens=32, reserve_s=1.0) == 68


@pytest.mark.parametrize("left_s", [0.01, 0.5, 1.2])
def test_less_time_than_the_reserve_affords_nothing(left_s):
    assert affordable_tokens(left_s=left_s, tokens_per_s=100, reserve_tokens=32, reserve_s=1.0) < 0


def test_before_any_measurement_only_the_fixed_reserve_counts():
    tokens = affordable_tokens(
        left_s=2.0, tokens_per_s=float("inf"), reserve_tokens=32, reserve_s=1.0
    )

    assert tokens > TABLE.largest_budget
