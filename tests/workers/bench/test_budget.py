"""`ponder bench budget`: its curves bound each other, and its cuts are what a real budget gives."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import workers
from ponder.cli import main
from workers.bench import budget_prompt_oracle
from workers.bench.budget_curves import (
    Curve,
    fixed_curve,
    informed_curve,
    oracle_curve,
    point,
    shuffled,
)
from workers.bench.budget_figures import Measured, figures
from workers.bench.budget_outcomes import BUDGETS, Outcomes, measure_outcomes
from workers.bench.budget_prompt_oracle import Repeated
from workers.bench.early_exit_run import Bench, Plan

MODEL_DIR = Path(workers.__file__).parent / "reference"
TIERS = np.array([50, 500, 2_000, 10_000])


def outcomes_of(needs: np.ndarray) -> Outcomes:
    """Right once the budget holds the need, never before."""
    budgets = np.array(BUDGETS)
    spent = np.minimum(needs[:, None], budgets).astype(float)
    return Outcomes(spent, (needs[:, None] <= budgets).astype(float))


needs = st.lists(st.integers(1, 12_000), min_size=2, max_size=30).map(np.array)
points = st.lists(st.tuples(st.floats(1.0, 1e4), st.floats(0.0, 1.0)), min_size=1, max_size=20).map(
    np.array
)


@given(points)
def test_a_curve_is_on_or_above_its_points_and_bends_down(found):
    curve = Curve.over(found[:, 0], found[:, 1])

    for tokens, accuracy in found:
        assert curve.accuracy_at(tokens) >= accuracy - 1e-9
    slopes = np.diff(curve.accuracy) / np.maximum(np.diff(curve.tokens), 1e-12)
    assert (np.diff(slopes) <= 1e-9).all()


@given(points, st.floats(0.0, 1.0))
def test_the_fewest_tokens_for_an_accuracy_reach_it(found, accuracy):
    curve = Curve.over(found[:, 0], found[:, 1])
    tokens = curve.tokens_at(accuracy)

    assert np.isnan(tokens) == (accuracy > found[:, 1].max())
    if not np.isnan(tokens):
        assert curve.accuracy_at(tokens) == pytest.approx(accuracy, abs=1e-6)


def test_what_was_expected_decides_and_what_comes_counts():
    needs_expected, needs_real = np.array([40, 9_000] * 50), np.array([9_000, 40] * 50)
    fooled = informed_curve(outcomes_of(needs_expected), outcomes_of(needs_real))
    knows = informed_curve(outcomes_of(needs_real), outcomes_of(needs_real))

    assert knows.accuracy_at(25) >= 0.5
    assert fooled.accuracy_at(25) < 0.3
    assert fooled.accuracy[-1] == 0.5  # those it takes for easy are cut in any case


def repeated_of(needs_by_seed: np.ndarray) -> Repeated:
    runs = [outcomes_of(needs) for needs in needs_by_seed.T]
    return Repeated(np.stack([r.spent for r in runs], 1), np.stack([r.right for r in runs], 1))


def test_where_the_prompt_tells_the_need_its_oracle_is_as_good_as_one_that_knows_it():
    kinds = np.where(np.random.default_rng(0).random(200) < 0.5, 40, 9_000)
    repeated = repeated_of(np.tile(kinds[:, None], 4))
    found = budget_prompt_oracle.figures(repeated, np.full(200, 50), np.arange(200))

    assert found["repeated_prompt_oracle_points"] == found["repeated_need_oracle_points"]
    assert found["repeated_prompt_oracle_points"] > 0


def test_where_chance_alone_makes_the_need_the_prompt_gains_nothing():
    chance = np.where(np.random.default_rng(1).random((400, 8)) < 0.5, 450, 20_000)
    repeated = repeated_of(chance)
    found = budget_prompt_oracle.figures(repeated, np.full(400, 350), np.arange(400))

    assert found["repeated_need_oracle_points"] > 5
    assert found["repeated_prompt_oracle_points"] < 1


@given(needs, st.integers(0, 2**32 - 1))
def test_no_choice_of_budgets_beats_the_oracle(found, seed):
    outcomes, rows = outcomes_of(found), np.arange(len(found))
    chosen = np.random.default_rng(seed).choice(BUDGETS, len(found))
    any_choice = point(outcomes, chosen, rows)
    oracle, fixed = oracle_curve(outcomes, rows), fixed_curve(outcomes, rows)

    # The oracle's prices are a grid, so its envelope may lack a little between two of them.
    assert oracle.accuracy_at(any_choice.tokens) >= any_choice.accuracy - 0.1
    assert oracle.accuracy_at(any_choice.tokens) >= fixed.accuracy_at(any_choice.tokens) - 0.1


def measured(found: np.ndarray, budgets: np.ndarray) -> Measured:
    outcomes = outcomes_of(found)
    served = point(outcomes, budgets, np.arange(len(found)))
    return Measured(
        no_exit=outcomes,
        exit=outcomes,
        budgets={"worth": budgets, "no limit": np.full(len(found), 10_000)},
        coverages={},
        served_spent=np.full(len(found), served.tokens),
        served_right=np.full(len(found), served.accuracy),
    )


def test_nothing_is_gained_where_one_small_budget_tells_easy_from_hard():
    found = np.array([40] * 500 + [9_000] * 500)
    knows = measured(found, np.where(found > 500, 50, 500))

    gained = figures(knows, "worth", knows.all_rows)["points_over_best_fixed"]
    assert gained == pytest.approx(0.0, abs=1e-6)


def test_shuffled_predictions_lose_what_predictions_gain():
    rng = np.random.default_rng(0)
    hard = rng.random(2_000) < 0.5
    # Half never end; the others need all of a moderate budget.
    found = np.where(hard, 20_000, rng.integers(60, 500, 2_000))
    knows = measured(found, np.where(hard, 50, 500))
    gained = figures(knows, "worth", knows.all_rows)

    assert gained["points_over_best_fixed"] > 5
    assert gained["shuffled_points_over_best_fixed"] < 0
    assert gained["share_of_oracle_gain"] > 0.5


def test_equal_predictions_are_worth_nothing():
    rng = np.random.default_rng(1)
    found = rng.integers(1, 3_000, 1_000)
    alike = measured(found, np.full(1_000, 500))
    gained = figures(alike, "worth", alike.all_rows)

    assert gained["points_over_best_fixed"] <= 1e-9
    assert gained["shuffled_points_over_best_fixed"] == gained["points_over_best_fixed"]


def test_a_shuffle_keeps_the_mix():
    budgets = np.repeat(TIERS, [4, 3, 2, 1])

    assert sorted(shuffled(budgets)) == sorted(budgets)


@pytest.mark.parametrize("budget", [50, 275, 500])
def test_a_cut_of_the_whole_thinking_is_what_that_budget_gives(outcomes, budget):
    bench, questions, measured_outcomes = outcomes
    real = bench.records(questions, None, budget)
    column = BUDGETS.index(budget)

    assert measured_outcomes.spent[:, column].tolist() == [r.spent_tokens for r in real]
    assert measured_outcomes.right[:, column].tolist() == [r.is_right for r in real]


@pytest.fixture(scope="module")
def outcomes():
    bench = Bench(MODEL_DIR, Plan(problems=16, seed=3, budget_tokens=1_000))
    questions = bench.questions("test", 16)
    found, _ = measure_outcomes(bench, questions, None, lambda line: None)
    return bench, questions, found


@pytest.mark.e2e
def test_a_quick_run_serves_as_the_engine_alone_does(tmp_path):
    written = tmp_path / "budget.json"
    arguments = ["bench", "budget", "--quick", "--json", str(written)]
    result = CliRunner().invoke(main, [*arguments, "--plot", str(tmp_path / "budget.svg")])

    assert result.exit_code == 0, result.output
    report = json.loads(written.read_text())
    assert report["figures"]["questions"] == 24
    assert report["figures"]["served_like_engine_share"] >= 0.9
    assert report["controls"]["fixed 50_tokens"] < report["controls"]["fixed 10000_tokens"]
    assert (tmp_path / "budget.svg").read_text().startswith("<?xml")
