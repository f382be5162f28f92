"""What the report says in numbers, on cases whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from classifier.dataset import Dataset
from classifier.following import Following
from classifier.hazards import fit
from classifier.lexical import LEXICAL_NAMES
from classifier.survival import TIER_BINS, survival_of
from classifier.training_report.facts import (
    largest_effects,
    reliability,
    split_facts,
    surprises,
)
from ponder.bins import NUM_NEED_BINS
from tests.classifier.oracle import Question


def outcomes(*needs_and_budgets: tuple[int, int]) -> Dataset:
    return Dataset.of(Question("a", "f", n).outcome(b) for n, b in needs_and_budgets)


def test_splits_say_how_much_was_cut():
    data = outcomes((10, 50), (60, 50), (700, 500), (20, 500))

    (facts,) = split_facts(replace(data, splits=np.full(4, "test")))

    assert (facts.name, facts.num_rows, facts.censored_share) == ("test", 4, 0.5)
    assert (facts.families, facts.decided_share) == ({"f": 4}, 0.0)


def test_reliability_compares_within_bins_of_probability():
    data = outcomes((40, 500), (600, 2000), (10, 500), (700, 500), (10, 50))
    predicted = np.array([0.21, 0.22, 0.23, 0.9, 0.9])

    found = reliability(predicted, Following.of(data).answers(500))

    assert found.predicted == pytest.approx([0.22, 0.9])
    assert found.observed == pytest.approx([1 / 3, 1.0])
    assert found.half_widths == pytest.approx([1.96 * (2 / 27) ** 0.5, 0.0])


def test_surprises_are_the_least_likely_rows_with_their_prompt_where_it_is_known(model, dataset):
    test = dataset.split("test")
    hazards = model.hazards(test.features)
    nameless = replace(test, prompts=np.full(len(test), "", dtype=object))
    shown = replace(test, prompts=np.array([f"prompt {k}" for k in range(len(test))], dtype=object))

    bare = surprises(model, hazards, nameless, 5)
    named = surprises(model, hazards, shown, 5)

    assert [each.log_loss for each in bare] == sorted((e.log_loss for e in bare), reverse=True)
    assert all(each.text.startswith("prompt ") for each in named)
    assert all(each.text.split()[0] in LEXICAL_NAMES for each in bare)
    worst = int(named[0].text.split()[1])
    assert named[0].thinking_tokens == test.thinking_tokens[worst]


def test_a_need_above_every_edge_has_no_bound(model, dataset):
    test = dataset.split("test")

    (first,) = surprises(model, np.full((len(test), NUM_NEED_BINS), 1e-6), test, 1)

    assert first.bound_tokens is None


def test_effects_name_what_moves_the_prediction(dataset):
    length = LEXICAL_NAMES.index("log_bytes")
    model = fit(dataset, regularisation=1.0, columns=np.array([length]))

    effects = largest_effects(model, dataset.features, 3)

    assert effects[0].feature == "log_bytes"
    assert effects[0].logit != 0.0
    assert [effect.logit for effect in effects[1:]] == [0.0, 0.0]
    # More of it moves the prediction as the sign says.
    longer = dataset.features[:1].copy()
    longer[0, length] += 0.5
    survival = survival_of(model.hazards(np.concatenate([dataset.features[:1], longer])))
    falls = survival[1, TIER_BINS[0]] < survival[0, TIER_BINS[0]]
    assert falls == (effects[0].logit > 0.0)
