"""Drift: rarely seen in what is drawn alike, seen when prompts or needs change, not in few rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest

from classifier.drift.assessment import Own, Traffic, Verdict, assess, worst
from classifier.drift.stability import SCORE, Reference
from classifier.features import encode
from classifier.predictor import DifficultyClassifier
from classifier.survival import TIER_BUDGETS, smallest_sufficient_tier, survival_of
from ponder.outcomes import TIERS
from ponder.settlement import Settlement
from ponder.v1.budget_pb2 import THINKING_STOP_FINISHED, TIER_RESEARCH
from tests.classifier.oracle import Question, ask
from tests.classifier.traces.conftest import trace

BUDGETS = list(TIER_BUDGETS.values())
BINS = (1, 4, 6, 8)
NUM_POOL = 1_500


@dataclass(frozen=True)
class Asked:
    question: Question
    features: tuple[int, ...]
    hazards: tuple[float, ...]


@pytest.fixture(scope="module")
def pool(classifier: DifficultyClassifier) -> list[Asked]:
    """Questions that the classifier never saw, from the distribution that it was trained on."""
    rng = Random(99)
    questions = [ask(rng) for _ in range(NUM_POOL)]
    return [_asked(classifier, question) for question in questions]


@pytest.fixture(scope="module")
def own(classifier: DifficultyClassifier, model, dataset) -> Own:
    held_out = dataset.rows(dataset.splits != "train")
    reference = Reference.of(held_out.features, model.hazards(held_out.features))
    return Own(version=classifier.version, reference=reference)


def _asked(classifier: DifficultyClassifier, question: Question) -> Asked:
    hazards = classifier.predict(question.prompt).astype(float)
    return Asked(question, tuple(encode(question.prompt).tolist()), tuple(hazards.tolist()))


def settled(asked: Asked, version: str, factor: float = 1.0) -> Settlement:
    """As the router decides and a worker settles it."""
    survival = survival_of(np.array([asked.hazards]))
    index = int(smallest_sufficient_tier(survival)[0])
    need = round(asked.question.need_tokens * factor)
    missed = need > BUDGETS[index] and TIERS[index] != TIER_RESEARCH
    return trace(
        tier=TIERS[index + missed],
        budget_tokens=BUDGETS[index + missed],
        escalations=int(missed),
        stop=THINKING_STOP_FINISHED,
        thinking_tokens=min(need, BUDGETS[index + missed]),
        prior_hazards=asked.hazards,
        predicted_miss=float(survival[0, BINS[index]]),
        classifier_version=version,
        features=asked.features,
    )


def traffic_of(traces: Sequence[Settlement]) -> Traffic:
    traffic = Traffic()
    for record in traces:
        traffic.add(record)
    return traffic


def drawn(pool: list[Asked], own: Own, count: int, seed: int, factor: float = 1.0):
    chosen = Random(seed).choices(pool, k=count)
    return [settled(asked, own.version, factor) for asked in chosen]


def verdicts(traces: Sequence[Settlement], own: Own | None) -> dict[str, Verdict]:
    return {found.name: found.verdict for found in assess(traffic_of(traces), own)}


def test_alike_traffic_is_rarely_reported(pool, own):
    found = [worst(assess(traffic_of(drawn(pool, own, 600, seed)), own)) for seed in range(20)]

    assert found.count(Verdict.OK) >= 19


def test_alike_traffic_is_not_reported_without_a_stored_reference_either(pool, own):
    bare = replace(own, reference=None)
    traces = [drawn(pool, own, 1_000, seed) for seed in range(5)]

    found = [worst(assess(traffic_of(one), bare, recent_rows=500)) for one in traces]

    assert found.count(Verdict.OK) >= 4


@pytest.mark.parametrize("is_stored", [True, False])
def test_another_mix_of_prompts_is_seen_in_features_and_score(pool, own, is_stored):
    easy = [asked for asked in pool if asked.question.family != "countdown"]
    traces = drawn(pool, own, 600, 1) + drawn(easy, own, 400, 2)

    used = own if is_stored else replace(own, reference=None)
    found = {one.name: one for one in assess(traffic_of(traces), used, recent_rows=400)}

    assert found["prompt features"].verdict is Verdict.ALARM
    assert found[SCORE].verdict is Verdict.ALARM
    assert ("its training" if is_stored else "older traces") in found[SCORE].detail


def test_needs_that_double_are_seen_in_hits_and_residual_and_not_in_the_prompts(pool, own):
    traces = drawn(pool, own, 1_000, 1) + drawn(pool, own, 600, 2, factor=3.0)

    found = {one.name: one for one in assess(traffic_of(traces), own)}

    assert found["budget hit rate"].verdict is Verdict.WARN
    assert found["coverage residual"].verdict is Verdict.ALARM
    assert (found["coverage residual"].value or 0.0) > 0.05
    assert "from 0.0" in found["budget hit rate"].detail
    assert found["prompt features"].verdict is Verdict.OK
    assert found[SCORE].verdict is Verdict.OK


def test_budgets_that_suffice_more_often_than_promised_are_no_alarm(pool, own):
    traces = drawn(pool, own, 600, 1, factor=0.1)

    assert verdicts(traces, own)["coverage residual"] is Verdict.OK


def test_fewer_than_200_rows_are_not_judged(pool, own):
    assert set(verdicts(drawn(pool, own, 199, 1), own).values()) == {Verdict.TOO_FEW}


def test_requests_that_another_classifier_or_none_predicted_are_told(pool, own):
    traces = drawn(pool, own, 300, 1)
    others = [replace(record, classifier_version="general") for record in traces[:30]]
    without = [
        replace(record, classifier_version="", prior_hazards=(), predicted_bin=None)
        for record in traces[30:45]
    ]

    found = assess(traffic_of([*others, *without, *traces[45:]]), own)[-1]

    assert (found.value, found.verdict) == (0.85, Verdict.WARN)
    assert "10.0% by another, 5.0% by none" in found.detail


def test_a_model_without_a_classifier_of_its_own_is_told(pool, own):
    found = assess(traffic_of(drawn(pool, own, 300, 1)), None)[-1]

    assert found.verdict is Verdict.WARN
    assert "none of its own" in found.detail


def test_features_of_another_making_are_left_out(pool, own):
    traces = [replace(record, features=(99,)) for record in drawn(pool, own, 300, 1)]

    assert verdicts(traces, own)["prompt features"] is Verdict.TOO_FEW
