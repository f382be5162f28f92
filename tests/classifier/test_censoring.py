"""Requests cut by their budget must not bend the curve, whatever decided the budget."""

from random import Random

import numpy as np

from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.features import NUM_LEXICAL
from classifier.hazards import fit
from classifier.lexical import LEXICAL_NAMES
from classifier.survival import TIER_BINS, TIER_BUDGETS, survival_of
from ponder.bins import NEED_BIN_EDGES
from ponder.v1 import budget_pb2
from tests.classifier.oracle import MAX_BUDGET, Question

TOLERANCE = 0.02
NUM_NUMBERS = 1 + LEXICAL_NAMES.index("log_numbers")


def logged(questions: list[Question]) -> list[Outcome]:
    """Small budgets for prompts with few numbers, as a policy would; one in five at random."""
    rng, outcomes = Random(3), []
    for question in questions:
        few = question.outcome().ids[NUM_NUMBERS] < 1024 * np.log1p(5)
        budget = 50 if few else 500
        if rng.random() < 0.2:
            budget = rng.choice(list(TIER_BUDGETS.values()))
        outcomes.append(question.outcome(budget))
    return outcomes


def taken_as_exact(outcome: Outcome) -> Outcome:
    """The mistake: spending the whole budget read as having needed just that."""
    return Outcome(
        ids=outcome.ids,
        thinking_tokens=outcome.thinking_tokens,
        budget_tokens=MAX_BUDGET,
        stop=budget_pb2.THINKING_STOP_FINISHED,
        family=outcome.family,
    )


def largest_error(outcomes: list[Outcome], questions: list[Question]) -> float:
    """Of the mean predicted survival at the tier budgets, against the needs without a budget."""
    data = Dataset.of(outcomes)
    columns = np.arange(NUM_LEXICAL)
    survival = survival_of(fit(data, regularisation=1.0, columns=columns).hazards(data.features))
    needs = np.array([question.need_tokens for question in questions])
    truth = (needs[:, np.newaxis] > np.array(NEED_BIN_EDGES)).mean(axis=0)
    return float(np.abs(survival.mean(axis=0) - truth)[list(TIER_BINS)].max())


def test_survival_is_recovered_from_censored_requests(questions):
    outcomes = logged(questions)
    cut = np.mean([o.stop == budget_pb2.THINKING_STOP_EXHAUSTED for o in outcomes])

    assert cut > 0.2
    assert largest_error(outcomes, questions) < TOLERANCE


def test_taking_the_budget_for_the_need_does_not_recover_it(questions):
    naive = [taken_as_exact(outcome) for outcome in logged(questions)]

    assert largest_error(naive, questions) > 4 * TOLERANCE


def test_dropping_the_cut_requests_does_not_recover_it(questions):
    finished = [o for o in logged(questions) if o.stop == budget_pb2.THINKING_STOP_FINISHED]
    kept = [taken_as_exact(outcome) for outcome in finished]

    assert largest_error(kept, questions) > 4 * TOLERANCE
