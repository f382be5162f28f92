"""The joint fit, against scikit-learn bin by bin where nothing ties the bins together."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from classifier import regression
from classifier.regression import HazardRegression

NUM_ROWS, NUM_FEATURES, NUM_BINS = 1500, 12, 4


@pytest.fixture
def problem():
    """Features that are correlated and of unequal scale; bins whose truths drift."""
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(NUM_FEATURES, NUM_FEATURES)) * np.geomspace(0.05, 2, NUM_FEATURES)
    features = (rng.normal(size=(NUM_ROWS, NUM_FEATURES)) @ mixing).astype(np.float32)
    drift = np.cumsum(rng.normal(scale=0.1, size=(NUM_FEATURES, NUM_BINS)), axis=1)
    hazards = 1 / (1 + np.exp(-(features @ drift - 1.0)))
    stops = rng.random(hazards.shape) < hazards
    at_risk = np.cumprod(1 - np.pad(stops, ((0, 0), (1, 0)))[:, :-1], axis=1)
    return features, stops * at_risk, at_risk


def test_without_smoothing_each_bin_is_what_scikit_learn_finds(problem, monkeypatch):
    monkeypatch.setattr(regression, "SMOOTHING", 0.0)
    features, events, at_risk = problem

    found = HazardRegression(features, events, at_risk).solve(0.3)

    for index in range(NUM_BINS):
        rows = at_risk[:, index] > 0
        alone = LogisticRegression(C=0.3, tol=1e-8, max_iter=5000)
        alone.fit(features[rows].astype(np.float64), events[rows, index])
        assert found.weights[:, index] == pytest.approx(alone.coef_[0], abs=5e-3)
        assert found.intercepts[index] == pytest.approx(alone.intercept_[0], abs=5e-3)


def test_smoothing_draws_neighbours_together(problem, monkeypatch):
    apart = {}
    for smoothing in (0.0, 100.0):
        monkeypatch.setattr(regression, "SMOOTHING", smoothing)
        weights = HazardRegression(*problem).solve(1.0).weights
        apart[smoothing] = float((np.diff(weights, axis=1) ** 2).sum())

    assert apart[100.0] < 0.5 * apart[0.0]


def test_a_weight_of_two_is_the_row_twice(problem):
    features, events, at_risk = problem
    twice = [np.concatenate([array, array[:500]]) for array in problem]
    weights = np.where(np.arange(NUM_ROWS) < 500, 2.0, 1.0)[:, np.newaxis]

    weighed = HazardRegression(features, events * weights, at_risk * weights).solve(1.0)
    repeated = HazardRegression(*twice).solve(1.0)

    assert weighed.weights == pytest.approx(repeated.weights, abs=5e-3)


def test_the_start_does_not_decide_the_end(problem):
    regression = HazardRegression(*problem)

    direct = regression.solve(1.0)
    detour = regression.solve(1.0, regression.solve(0.01))

    assert detour.weights == pytest.approx(direct.weights, abs=5e-3)


def test_without_features_the_intercepts_are_the_shares(problem):
    features, events, at_risk = problem

    found = HazardRegression(features[:, :0], events, at_risk).solve(1.0)

    shares = events.sum(axis=0) / at_risk.sum(axis=0)
    assert 1 / (1 + np.exp(-found.intercepts)) == pytest.approx(shares, abs=1e-4)
