"""The rows that tell, weighted, stand for all: against truth, and beside what goes wrong else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.following import MAX_WEIGHT, Following
from tests.classifier.gate.logs import BUDGETS, World, lognormal_needs, world

NUM_ROWS = 40_000
TOLERANCE = 0.01


def unweighted(rows, tokens: int) -> float:
    decided = rows.data.horizon_tokens >= tokens
    exceeds = (rows.data.thinking_tokens > tokens) | ~rows.data.need_known
    return float(exceeds[decided].mean())


def weighted(rows, tokens: int) -> float:
    answers = Following.of(rows.data, BUDGETS).answers(tokens)
    return answers.mean(answers.exceeds.astype(float))


def by_difficulty(rng: np.random.Generator):
    """Easy and hard prompts, and a policy that knows them apart; it explores much."""
    is_hard = rng.random(NUM_ROWS) < 0.5
    needs = lognormal_needs(rng, np.where(is_hard, 700.0, 60.0))
    easy, hard = np.array([0.7, 0.2, 0.05, 0.05]), np.array([0.05, 0.15, 0.4, 0.4])
    return needs, np.where(is_hard[:, np.newaxis], hard, easy)


@pytest.mark.parametrize("tokens", [120, 500, 1000])
def test_budgets_chosen_by_the_prompt_bias_the_plain_share_and_not_the_weighted(tokens):
    rng = np.random.default_rng(1)
    needs, propensities = by_difficulty(rng)
    rows = world(rng, needs, propensities).rows
    truth = float((needs > tokens).mean())

    assert abs(unweighted(rows, tokens) - truth) > 0.08
    assert weighted(rows, tokens) == pytest.approx(truth, abs=TOLERANCE)


@pytest.mark.parametrize("goes_on", [(1.0, 1.0, 1.0), (0.7, 0.5, 0.6), (0.3, 0.9, 1.0)])
@pytest.mark.parametrize("tokens", [500, 2000])
def test_raised_budgets_bias_the_plain_share_and_not_the_weighted(goes_on, tokens):
    rng = np.random.default_rng(2)
    needs, propensities = by_difficulty(rng)
    rows = world(rng, needs, propensities, goes_on).rows
    truth = float((needs > tokens).mean())

    assert abs(unweighted(rows, tokens) - truth) > 0.05
    assert weighted(rows, tokens) == pytest.approx(truth, abs=1.5 * TOLERANCE)


def test_everything_is_told_with_weight_one_when_every_budget_is_raised():
    rng = np.random.default_rng(3)
    needs, propensities = by_difficulty(rng)
    rows = world(rng, needs, propensities, (1.0,) * 3).rows
    answers = Following.of(rows.data, BUDGETS).answers(500)

    assert (answers.weights == 1.0).all()
    assert (answers.exceeds == (needs > 500)).all()


def test_clipping_the_decision_leaves_predicted_and_observed_comparable():
    rng = np.random.default_rng(4)
    medians = np.where(rng.random(NUM_ROWS) < 0.5, 700.0, 60.0)
    needs = lognormal_needs(rng, medians)
    rare = np.where(
        medians[:, np.newaxis] > 100, np.array([0.0, 0.0, 1.0, 0.0]), np.array([0.99, 0.01, 0, 0])
    )
    answers = Following.of(world(rng, needs, rare).rows.data, BUDGETS).answers(500)
    truth = {m: float((needs[medians == m] > 500).mean()) for m in (60.0, 700.0)}
    predicted = np.where(medians > 100, truth[700.0], truth[60.0])

    assert answers.weights.max() == MAX_WEIGHT
    observed = answers.mean(answers.exceeds.astype(float))
    assert observed == pytest.approx(answers.mean(predicted), abs=TOLERANCE)


def test_tenants_that_may_not_go_on_are_weighted_by_their_own_chance():
    rng = np.random.default_rng(5)
    is_hard = rng.random(NUM_ROWS) < 0.5
    needs = lognormal_needs(rng, np.where(is_hard, 700.0, 60.0))
    first = np.where(rng.random(NUM_ROWS) < 0.2, 2, 0)
    propensities = np.tile([0.8, 0.0, 0.2, 0.0], (NUM_ROWS, 1))
    # The tenant with the hard prompts may never go on.
    ceiling = np.where(is_hard, first, 3)
    made = World(needs=needs, propensities=propensities, first_tier=first, ceiling=ceiling).rows
    named = np.where(is_hard, "free", "pro")
    truth = float((needs > 500).mean())

    own = replace(made, data=replace(made.data, tenants=named))

    assert weighted(own, 500) == pytest.approx(truth, abs=TOLERANCE)
    assert abs(weighted(made, 500) - truth) > 3 * TOLERANCE


def test_what_the_caller_fixed_is_not_raised_and_tells_up_to_its_budget():
    needs = np.array([30, 300, 700])
    propensities = np.eye(4)[[1, 1, 1]]
    made = World(
        needs=needs,
        propensities=propensities,
        first_tier=np.array([1, 1, 1]),
        ceiling=np.array([1, 1, 1]),
    ).rows
    fixed = made.rows(np.array([0, 1, 2]))
    fixed.data.is_automatic[:] = False
    following = Following.of(fixed.data, BUDGETS)

    assert following.answers(500).weights.tolist() == [1.0, 1.0, 1.0]
    assert following.answers(2000).num_answered == 0
    assert not following.answers(2000).is_possible.any()


probabilities = st.floats(0.3, 1.0)


@given(
    need=st.integers(1, 12_000),
    tokens=st.sampled_from([16, 50, 300, 500, 1000, 2000, 10_000]),
    shares=st.lists(st.integers(1, 5), min_size=4, max_size=4),
    goes_on=st.tuples(probabilities, probabilities, probabilities),
)
def test_weights_average_to_one_over_everything_that_could_have_happened(
    need, tokens, shares, goes_on
):
    chances = np.array(shares) / sum(shares)
    total = 0.0
    for first in range(4):
        for ceiling in range(first, 4):
            chance = chances[first] * np.prod(goes_on[first:ceiling])
            chance *= 1.0 - goes_on[ceiling] if ceiling < 3 else 1.0
            happened = World(
                needs=np.array([need]),
                propensities=chances[np.newaxis],
                first_tier=np.array([first]),
                ceiling=np.array([ceiling]),
            )
            following = Following(happened.rows.data, BUDGETS, np.array([goes_on]))
            answers = following.answers(tokens)
            if answers.weights[0]:
                assert answers.exceeds[0] == (need > tokens)
            total += chance * float(answers.weights[0])

    assert total == pytest.approx(1.0)
