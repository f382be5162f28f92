"""Intervals hold the truth as often as they say, in simulations with fixed seeds."""

import numpy as np
import pytest

from classifier.gate.resampling import interval, mean_interval, row_draws

NUM_SIMULATIONS = 200


def share_holding(simulate, truth: float) -> float:
    rng = np.random.default_rng(0)
    found = [simulate(rng) for _ in range(NUM_SIMULATIONS)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def test_interval_of_a_mean_holds_it_in_about_95_of_100_cases():
    def simulate(rng):
        return mean_interval(rng.exponential(2.0, 400), np.arange(400))

    assert share_holding(simulate, 2.0) == pytest.approx(0.95, abs=0.035)


def test_repeated_prompts_are_drawn_together():
    """Each of 60 prompts stands ten times in the log, with one and the same value."""

    def rows(rng):
        return np.repeat(rng.standard_normal(60), 10), np.repeat(np.arange(60), 10)

    def alone(rng):
        values, _ = rows(rng)
        return mean_interval(values, np.arange(len(values)))

    def together(rng):
        return mean_interval(*rows(rng))

    assert share_holding(together, 0.0) == pytest.approx(0.95, abs=0.04)
    assert share_holding(alone, 0.0) < 0.6


def test_statistic_is_a_function_of_column_sums():
    columns = np.array([[2.0, 1.0], [4.0, 1.0], [9.0, 1.0]])

    found = interval(columns, np.arange(3), lambda sums: sums[:, 0] / sums[:, 1])

    assert found.estimate == pytest.approx(5.0)
    assert 2.0 <= found.low < 5.0 < found.high <= 9.0


def test_equal_values_leave_no_doubt():
    found = mean_interval(np.full(50, 0.25), np.arange(50))

    assert (found.low, found.estimate, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_rows_of_a_group_are_drawn_equally_often():
    times = row_draws(np.array([7, 7, 3, 9]), 50)

    assert (times[:, 0] == times[:, 1]).all()
    assert (times[:, 1:].sum(axis=1) == 3).all()  # three groups, three draws
