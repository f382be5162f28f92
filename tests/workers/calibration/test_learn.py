"""What calibration chooses, from records made by hand, and what its guarantee is worth."""

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.calibration.learn import (
    Calibrator,
    RecordedProblem,
    least_problems,
    upper_bound,
)
from workers.calibration.recorder import RecordedTrial
from workers.early_exit import ExitRules

BASE = ExitRules(min_thinking_tokens=0)


def trial(at, confidence, answer=(7, 8), entropy=0.01):
    logprob = math.log(confidence)
    return RecordedTrial(
        thinking_tokens=at,
        entropy=entropy,
        logprobs=(logprob,) * len(answer),
        answer_ids=answer,
        num_sampled=len(answer) + 1,
    )


def problem(*trials, kept=True, tokens=1000):
    return RecordedProblem(
        thinking_tokens=tokens, trials=trials, is_kept=tuple(kept for _ in trials)
    )


def found(at=100, confidence=0.999, **changes):
    """A problem whose trials are sure from `at` on, one every 20 tokens."""
    places = range(at, 1000, 20)
    return problem(*(trial(place, confidence) for place in places), **changes)


def calibrator(**changes):
    settings = {
        "base": BASE,
        "num_fed": 1,
        "budget_tokens": 1000,
        "risk": 0.02,
        "delta": 0.1,
        **changes,
    }
    return Calibrator(**settings)


def test_what_is_surely_right_is_stopped_at_once():
    chosen = calibrator().calibrate([found() for _ in range(300)]).chosen

    assert chosen is not None
    assert (chosen.losses, chosen.problems) == (0, 200)
    assert chosen.rules.agreement == 1
    assert chosen.gross_saved == pytest.approx(0.9)
    assert chosen.net_saved == pytest.approx(0.9 - 4 / 1000)


def test_a_model_that_is_sure_of_what_is_wrong_is_not_stopped():
    calibration = calibrator().calibrate([found(confidence=0.9999, kept=False)] * 300)

    assert calibration.chosen is None


def test_confidence_stays_above_that_of_wrong_trials():
    wrong = [found(confidence=0.93, kept=False)] * 30
    records = [*wrong, *[found()] * 270]
    Random(1).shuffle(records)

    chosen = calibrator().calibrate(records).chosen

    assert chosen is not None
    assert chosen.rules.confidence > 0.93
    assert chosen.losses == 0


def test_thinking_that_never_comes_to_an_answer_may_be_given_up():
    stuck = [found(confidence=0.2)] * 100  # wrong to the end: there is nothing to lose
    records = [*stuck, *[found()] * 200]
    Random(1).shuffle(records)

    kept_on = calibrator().calibrate(records).chosen
    gives_up = calibrator(gives_up=True).calibrate(records).chosen

    assert kept_on is not None
    assert gives_up is not None
    assert kept_on.rules.give_up_confidence is None
    assert gives_up.rules.give_up_confidence is not None
    assert gives_up.net_saved > kept_on.net_saved + 0.1


def test_thinking_that_would_come_to_an_answer_late_is_not_given_up():
    late = problem(trial(600, 0.2), trial(900, 0.999), kept=False)
    late = replace(late, is_kept=(False, True))

    chosen = calibrator(gives_up=True).calibrate([late] * 300).chosen

    assert chosen is not None
    assert chosen.rules.give_up_confidence is None
    assert chosen.losses == 0


def test_what_a_run_does_not_confirm_is_not_chosen():
    chosen = calibrator().calibrate([found()] * 300).chosen

    assert chosen is not None
    confirmed = calibrator().confirmed(chosen, losses=1)
    assert confirmed is not None
    assert (confirmed.losses, confirmed.rules) == (1, chosen.rules)
    assert confirmed.risk_bound > chosen.risk_bound
    assert calibrator().confirmed(chosen, losses=2) is None


def test_the_sequence_ends_with_the_first_that_fails():
    wrong, unsure = found(confidence=0.97, kept=False), found(confidence=0.6)
    calibration = calibrator(risk=0.05).calibrate([wrong] * 60 + [unsure] * 240)

    passed = [outcome.risk_bound <= 0.05 for outcome in calibration.curve]
    assert calibration.chosen == calibration.curve[passed.index(False) - 1]
    assert calibration.chosen.rules.confidence >= 0.97
    assert calibration.chosen.losses == 0


@given(st.integers(0, 30), st.integers(1, 300), st.floats(0.01, 0.5))
def test_the_bound_is_where_so_few_losses_become_rare(losses, problems, delta):
    bound = upper_bound(min(losses, problems), problems, delta)

    if losses >= problems:
        assert bound == 1.0
        return
    at_most = sum(
        math.comb(problems, k) * bound**k * (1 - bound) ** (problems - k) for k in range(losses + 1)
    )
    assert at_most == pytest.approx(delta, rel=1e-6)


@given(st.floats(0.002, 0.2), st.floats(0.01, 0.3))
def test_the_least_number_of_problems_can_show_the_risk_and_fewer_cannot(risk, delta):
    needed = least_problems(risk, delta)

    assert upper_bound(0, needed - len(range(0, needed, 3)), delta) <= risk
    fewer = needed - 3
    assert fewer <= 0 or upper_bound(0, fewer - len(range(0, fewer, 3)), delta) > risk


def test_the_guarantee_holds_over_many_calibrations():
    """Problems whose trials are wrong more often the less sure they are; the risk is known."""
    rng = Random(7)
    broken = 0
    for _ in range(24):
        records = [_drawn(rng) for _ in range(240)]
        chosen = calibrator(risk=0.05, delta=0.1).calibrate(records).chosen
        if chosen is not None:
            fresh = calibrator().outcome(chosen.rules, [_drawn(rng) for _ in range(2000)])
            broken += fresh.losses / fresh.problems > 0.05
    # At most a tenth is expected; of 24, eight or more happen once in 450 times at exactly that.
    assert broken < 8


def _drawn(rng):
    """One trial: wrong with the probability that its doubt says."""
    doubt = 10 ** rng.uniform(-3, -0.3)
    return problem(trial(100, 1 - doubt), kept=rng.random() > doubt)
