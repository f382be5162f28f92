"""The estimated value of decisions, against the truth that only a simulation knows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.following import Following
from classifier.gate.value import PolicyRows, difference, doubly_robust
from classifier.survival import COVERAGE
from tests.classifier.gate.logs import BUDGETS, lognormal_needs, world

PRICE = 1.0 - COVERAGE
NUM_SIMULATIONS = 150
NUM_ROWS = 1_000
MEDIANS = np.array([60.0, 400.0])
LOGGED = np.array([[0.8, 0.1, 0.05, 0.05], [0.3, 0.4, 0.2, 0.1]])
DECIDED = np.array([1, 3])  # by the policy that is judged
SERVED = np.array([0, 1])
NOTHING = np.full(4, 0.5)


def utility(tiers, needs):
    """By its definition: the steps that saved an escalation, less the price of all steps."""
    below = np.array(BUDGETS)
    saved = [int((below[:tier] < need).sum()) for tier, need in zip(tiers, needs, strict=True)]
    return np.array(saved) - PRICE * np.asarray(tiers)


@pytest.fixture(scope="module")
def survival():
    """P(need > budget) of both kinds of prompts, (2, 4)."""
    needs = lognormal_needs(np.random.default_rng(0), np.repeat(MEDIANS, 400_000)).reshape(2, -1)
    return (needs[:, :, np.newaxis] > np.array(BUDGETS)).mean(axis=1)


@pytest.fixture(scope="module")
def truth(survival):
    """Value of DECIDED and of SERVED when both kinds are equally frequent."""

    def value(tiers) -> float:
        return float(np.mean([survival[k, :t].sum() - PRICE * t for k, t in enumerate(tiers)]))

    return [value(DECIDED), value(SERVED)]


def logged(rng, goes_on=(0.0, 0.0, 0.0)):
    kinds = rng.integers(2, size=NUM_ROWS)
    needs = lognormal_needs(rng, MEDIANS[kinds])
    return kinds, world(rng, needs, LOGGED[kinds], goes_on).rows


def estimates(simulate):
    rng = np.random.default_rng(1)
    return np.array([simulate(rng) for _ in range(NUM_SIMULATIONS)])


def is_unbiased(found, truth: float) -> bool:
    return bool(abs(found.mean() - truth) < 3.0 * found.std() / len(found) ** 0.5)


def dr(policy: PolicyRows) -> float:
    return float(doubly_robust(policy.columns().sum(axis=0)[np.newaxis])[0])


@pytest.mark.parametrize("goes_on", [(0.0, 0.0, 0.0), (0.8, 0.6, 0.7), (1.0, 1.0, 1.0)])
def test_right_weights_suffice_though_the_model_is_wrong(goes_on, truth):
    def simulate(rng):
        kinds, rows = logged(rng, goes_on)
        wrong = np.tile(NOTHING, (NUM_ROWS, 1))
        policy = PolicyRows.of(DECIDED[kinds], wrong, Following.of(rows.data, BUDGETS), PRICE)
        return dr(policy), policy.ips, policy.snips

    found = estimates(simulate)

    assert all(is_unbiased(found[:, column], truth[0]) for column in range(3))


def test_right_model_suffices_though_the_weights_are_wrong(survival, truth):
    def simulate(rng):
        kinds, rows = logged(rng)
        wrong = replace(rows.data, propensities=np.full((NUM_ROWS, 4), 0.25))
        following = Following.of(wrong, BUDGETS)
        policy = PolicyRows.of(DECIDED[kinds], survival[kinds], following, PRICE)
        return dr(policy), policy.ips

    found = estimates(simulate)

    assert is_unbiased(found[:, 0], truth[0])
    assert not is_unbiased(found[:, 1], truth[0])


def test_with_both_wrong_it_is_wrong(truth):
    def simulate(rng):
        kinds, rows = logged(rng)
        wrong = replace(rows.data, propensities=np.full((NUM_ROWS, 4), 0.25))
        model = np.tile(NOTHING, (NUM_ROWS, 1))
        return dr(PolicyRows.of(DECIDED[kinds], model, Following.of(wrong, BUDGETS), PRICE))

    assert not is_unbiased(estimates(simulate), truth[0])


@pytest.mark.parametrize(
    ("goes_on", "least", "most"),
    # Chances to go on are counted on the same rows, which makes the estimate steadier than the
    # bootstrap, that takes them as given, believes.
    [((0.0, 0.0, 0.0), 0.91, 0.985), ((0.9, 0.9, 0.9), 0.91, 1.0)],
)
def test_interval_of_the_difference_holds_it_in_about_95_of_100_cases(
    goes_on, least, most, survival, truth
):
    def simulate(rng):
        kinds, rows = logged(rng, goes_on)
        following = Following.of(rows.data, BUDGETS)
        one, other = (
            PolicyRows.of(tiers[kinds], survival[kinds] * 0.8, following, PRICE)
            for tiers in (DECIDED, SERVED)
        )
        found = difference(one, other, rows.prompts)
        return found.low <= truth[0] - truth[1] <= found.high

    assert least <= estimates(simulate).mean() <= most


def test_told_utility_is_the_utility(truth):
    rng = np.random.default_rng(2)
    kinds = rng.integers(2, size=NUM_ROWS)
    needs = lognormal_needs(rng, MEDIANS[kinds])
    rows = world(rng, needs, LOGGED[kinds], (0.5, 0.5, 0.5)).rows

    policy = PolicyRows.of(
        DECIDED[kinds], np.zeros((NUM_ROWS, 4)), Following.of(rows.data, BUDGETS), PRICE
    )

    told = policy.weights > 0
    assert 0.2 < told.mean() < 1.0
    assert policy.utility[told] == pytest.approx(utility(DECIDED[kinds], needs)[told])


def test_one_tier_up_is_told_by_every_request_without_any_exploration():
    rng = np.random.default_rng(3)
    needs = lognormal_needs(rng, np.full(NUM_ROWS, 60.0))
    rows = world(rng, needs, np.tile([1.0, 0.0, 0.0, 0.0], (NUM_ROWS, 1))).rows
    following = Following.of(rows.data, BUDGETS)

    def policy(tier):
        return PolicyRows.of(np.full(NUM_ROWS, tier), np.zeros((NUM_ROWS, 4)), following, PRICE)

    assert policy(1).effective_rows == NUM_ROWS
    assert policy(1).snips == pytest.approx(utility(np.ones(NUM_ROWS, int), needs).mean())
    assert not policy(2).is_possible.any()
    assert policy(2).effective_rows == 0.0


def test_effective_rows_count_what_equal_weights_would():
    policy = PolicyRows(
        tiers=np.zeros(4, dtype=np.int64),
        weights=np.array([1.0, 1.0, 2.0, 0.0]),
        utility=np.zeros(4),
        expected=np.zeros(4),
        is_possible=np.ones(4, dtype=np.bool_),
    )

    assert policy.effective_rows == pytest.approx(16 / 6)


@given(
    hazards=st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4),
    coverage=st.floats(0.05, 0.95),
)
def test_the_best_tier_is_the_one_the_policy_takes(hazards, coverage):
    curve = np.cumprod(1.0 - np.array(hazards))
    price = 1.0 - coverage
    values = [curve[:tier].sum() - price * tier for tier in range(4)]

    smallest_sufficient = next((t for t in range(3) if curve[t] <= price), 3)

    assert values[smallest_sufficient] == pytest.approx(max(values))


@given(tier=st.integers(0, 3), needed=st.integers(0, 3), other=st.integers(0, 3))
def test_utility_is_minus_the_quantile_loss_up_to_a_constant(tier, needed, other):
    def loss(decided: int) -> float:
        return float(COVERAGE * max(needed - decided, 0) + PRICE * max(decided - needed, 0))

    need = BUDGETS[needed]
    one, two = utility([tier, other], [need, need])

    assert one - two == pytest.approx(loss(other) - loss(tier))
