"""Curves are read as the router reads them, and tiers are the graph's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.gate.contest import Contender, survival_at
from classifier.gate.losses import is_strange
from classifier.predictor import DifficultyClassifier
from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from router.survival import SurvivalCurve
from tests.classifier.gate.logs import BUDGETS


@given(
    hazards=st.lists(st.floats(0.0, 1.0), min_size=NUM_NEED_BINS, max_size=NUM_NEED_BINS),
    tokens=st.integers(0, 20_000),
)
def test_survival_is_the_one_the_router_reads(hazards, tokens):
    curve = np.cumprod(1.0 - np.array(hazards))

    (read,) = survival_at(curve[np.newaxis], tokens)

    assert read == pytest.approx(SurvivalCurve.from_hazards(np.array(hazards)).at(tokens), abs=1e-9)


def test_tiers_of_the_default_budgets_are_those_of_the_graph(champion, logs):
    contender = Contender.of(DifficultyClassifier.load(champion), logs.data)

    assert (contender.tier(BUDGETS) == contender.graph_tier).all()
    assert set(BUDGETS) <= set(NEED_BIN_EDGES)


def test_strange_rows_are_the_tenth_that_is_furthest_from_the_usual(logs):
    features = logs.data.features[:1_000].copy()
    features[::20, 3] += 100.0

    strange = is_strange(features, logs.data.features)

    assert strange.sum() == 100
    assert strange[::20].all()
