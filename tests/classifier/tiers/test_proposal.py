"""Budgets stand between the modes, and cut traces give those of the whole ones."""

from itertools import pairwise

import numpy as np
import pytest

from classifier.errors import DatasetError
from classifier.tiers.density import NeedDensity
from classifier.tiers.placement import place_budgets, round_numbers
from classifier.tiers.proposal import MIN_KNOWN, configuration, plan_of, propose
from classifier.tiers.spending import Spending
from tests.classifier.tiers.mixtures import cut_at, needs_around, uncut

FOUR = (30, 300, 1_500, 8_000)
MIXTURES = [(200,), (30, 3_000), (30, 300, 3_000), FOUR, (100, 450, 2_000, 9_000)]


@pytest.mark.parametrize("modes", MIXTURES)
def test_modes_are_found_where_they_are(modes):
    spending = uncut(needs_around(modes))

    found = NeedDensity.of(spending.curve(), spending.num_known).modes()

    assert found == pytest.approx(modes, rel=0.1)


@pytest.mark.parametrize("modes", MIXTURES)
def test_no_budget_is_just_below_a_mode(modes):
    budgets = propose(uncut(needs_around(modes)), 0.99).proposed.budgets

    assert len(set(budgets)) == 4
    for mode in modes:
        assert not [budget for budget in budgets if mode / 2 < budget <= 1.15 * mode]


def test_four_modes_get_a_budget_each():
    tiers = propose(uncut(needs_around(FOUR)), 0.99).proposed.tiers

    assert [tier.share for tier in tiers] == pytest.approx([0.25] * 4, abs=0.03)
    for tier, mode in zip(tiers, FOUR, strict=True):
        assert mode < tier.budget_tokens < 2 * mode
        assert tier.just_short < 0.02


def test_no_other_budgets_are_cheaper():
    curve = uncut(needs_around((50, 400), count=400, spread=0.6)).curve()
    largest = float(curve.needs[-1])
    candidates = round_numbers(largest)
    chosen = place_budgets(curve, candidates, 0.95, largest)
    rng = np.random.default_rng(1)
    others = (sorted(rng.choice(candidates, 4, replace=False).tolist()) for _ in range(3_000))

    allowed = [budgets for budgets in others if curve.covered(budgets[-1]) >= 0.95]
    nearby = [[*chosen[:i], chosen[i] + 10, *chosen[i + 1 :]] for i in range(4)]

    assert len(allowed) > 100
    least = mean_cost(curve, chosen)
    assert all(mean_cost(curve, budgets) >= least - 1e-9 for budgets in [*allowed, *nearby])


def mean_cost(curve, budgets) -> float:
    """By the definition, need by need."""
    cost = 0.0
    for need, mass in zip(curve.needs, curve.masses, strict=True):
        steps = list(pairwise((0, *budgets)))
        serving = next(((low, high) for low, high in steps if need <= high), None)
        if serving is None:
            cost += mass * 2 * budgets[-1] / need
        else:
            cost += mass * (np.log(serving[1] / need) + 2 * serving[0] / need)
    return cost


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_the_largest_budget_covers_what_was_asked(coverage):
    proposal = propose(uncut(needs_around((200,), spread=1.0)), coverage)

    assert proposal.proposed.tiers[-1].covers >= coverage


def test_cut_traces_give_nearly_what_the_whole_ones_give():
    needs = needs_around(FOUR, count=20_000)
    rng = np.random.default_rng(2)
    budgets = rng.choice([50, 500, 2_000, 10_000, 30_000], len(needs), p=[0.1, 0.2, 0.2, 0.2, 0.3])
    cut = cut_at(needs, budgets.astype(float))
    assert cut.num_known < 0.8 * len(cut)

    truth, seen = propose(uncut(needs), 0.99), propose(cut, 0.99)

    assert seen.proposed.budgets == pytest.approx(truth.proposed.budgets, rel=0.15)
    curve = uncut(needs).curve()
    for tier in seen.proposed.tiers:
        assert tier.covers == pytest.approx(curve.covered(tier.budget_tokens), abs=0.015)
    assert seen.proposed.mean_tokens == pytest.approx(
        curve.mean_up_to(seen.proposed.budgets[-1]), rel=0.03
    )


def test_taking_cuts_for_needs_would_be_wrong_here():
    needs = needs_around((8_000,), count=4_000)
    budgets = np.where(np.arange(4_000) % 2, 500.0, 30_000.0)
    rows = ((int(tokens), True, 0) for tokens in np.minimum(needs, budgets))

    naive, seen = propose(Spending.of(rows), 0.99), propose(cut_at(needs, budgets), 0.99)

    assert naive.proposed.tiers[0].budget_tokens <= 500
    assert seen.proposed.tiers[0].budget_tokens > 4_000


def test_needs_above_all_that_was_seen_are_told():
    needs = needs_around((100, 5_000), count=2_000)

    proposal = propose(cut_at(needs, np.full(2_000, 1_000.0)), 0.99)

    assert proposal.unknown_share == pytest.approx(0.5, abs=0.03)
    assert proposal.proposed.budgets[-1] == 1_000
    assert proposal.proposed.tiers[-1].covers == pytest.approx(0.5, abs=0.03)


def test_figures_of_a_plan_by_hand():
    needs = np.array([0, 10, 20, 60, 110, 400], dtype=float)

    plan = plan_of(uncut(needs).curve(), (20, 50, 100, 200))

    assert [tier.share for tier in plan.tiers] == pytest.approx([1 / 2, 0, 1 / 6, 1 / 6])
    assert [tier.covers for tier in plan.tiers] == pytest.approx([1 / 2, 1 / 2, 2 / 3, 5 / 6])
    assert [tier.mean_tokens for tier in plan.tiers] == pytest.approx([10, None, 60, 110])
    assert [tier.just_short for tier in plan.tiers] == pytest.approx([0, 1 / 6, 1 / 6, 0])
    assert plan.mean_tokens == pytest.approx((10 + 20 + 60 + 110 + 200) / 6)
    assert plan.mean_budget_tokens == pytest.approx((3 * 20 + 100 + 200 + 200) / 6)


def test_too_few_needs_are_refused_by_their_number():
    with pytest.raises(DatasetError, match=f"99 of 99 requests .* at least {MIN_KNOWN}"):
        propose(uncut(np.arange(1.0, 100.0)), 0.99)


def test_needs_that_are_not_told_apart_get_the_smallest_budgets():
    proposal = propose(uncut(np.full(200, 2.0)), 0.99)

    assert proposal.proposed.budgets == (16, 17, 18, 19)
    assert proposal.proposed.tiers[0].covers == 1.0


def test_at_the_edges_of_bins_the_last_may_cover_less_than_was_asked():
    proposal = propose(uncut(needs_around((100, 20_000))), 0.99, at_edges=True)

    assert proposal.proposed.budgets[-1] == 10_000
    assert proposal.proposed.tiers[-1].covers == pytest.approx(0.5, abs=0.03)


def test_one_need_for_all_gets_a_budget_that_holds_it():
    budgets = propose(uncut(np.full(200, 77.0)), 0.99).proposed.budgets

    assert 77 in budgets


def test_the_router_takes_the_configuration():
    name, budgets = configuration((740, 1_200, 6_500, 18_000))["router"].split("=")

    assert (name, budgets) == ("ROUTER_TIER_BUDGETS", "740,1200,6500,18000")
    of_r1 = configuration((740, 1_200, 6_500, 18_000), "r1")["router"]
    assert of_r1 == "ROUTER_TIER_BUDGETS=r1=740,1200,6500,18000"
