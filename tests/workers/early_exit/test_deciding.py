"""Cadence, judge, reader and watch: what is decided, without an engine."""

import math

import pytest

from workers.early_exit import ExitRules
from workers.early_exit.cadence import Cadence
from workers.early_exit.judge import Agreement
from workers.early_exit.trial import TrialOutcome, TrialReader
from workers.early_exit.watch import Watch
from workers.engine import ThinkingStop

RULES = ExitRules(min_thinking_tokens=0, min_gap_tokens=10, backoff=2.0, max_gap_tokens=40)
STEP_END = 9


def outcome(at=0, *, confidence=0.0, entropy=2.0, answer=()):
    return TrialOutcome(
        thinking_tokens=at, entropy=entropy, confidence=confidence, answer_ids=answer
    )


def sure(answer, at=0):
    return outcome(at, confidence=0.99, entropy=0.01, answer=answer)


def due_after(cadence, *outcomes):
    for one in outcomes:
        cadence.record(one)
    return next(tokens for tokens in range(1000) if cadence.is_due(tokens))


def test_unsure_trials_widen_the_gap_up_to_its_limit():
    cadence = Cadence(RULES)

    gaps = [due_after(cadence, outcome(entropy=2.0)) for _ in range(4)]

    assert gaps == [10, 20, 40, 40]


def test_an_entropy_that_halves_closes_the_gap_again():
    cadence = Cadence(RULES)
    due_after(cadence, outcome(), outcome(), outcome())

    assert due_after(cadence, outcome(100, entropy=0.9)) == 110


def test_a_sure_trial_is_confirmed_at_the_next_step():
    assert due_after(Cadence(RULES), outcome(), sure((1,), at=50)) == 0


def test_the_first_trial_waits_for_the_least_thinking():
    assert due_after(Cadence(ExitRules(min_thinking_tokens=32))) == 32


def judge(*outcomes, **rules):
    agreement = Agreement(ExitRules(**rules))
    return [agreement.is_enough(one) for one in outcomes]


def test_two_sure_and_equal_trials_in_a_row_are_enough():
    assert judge(sure((1, 2)), sure((1, 2))) == [False, True]


def test_neither_other_answers_nor_unsure_ones_in_between_agree():
    assert judge(sure((1,)), sure((2,)), outcome(), sure((2,))) == [False] * 4


def test_the_confidence_must_be_above_the_threshold_not_at_it():
    at_threshold = outcome(confidence=0.95, answer=(1,))

    assert judge(at_threshold, agreement=1, confidence=0.95) == [False]
    assert judge(at_threshold, agreement=1, confidence=0.949) == [True]


def test_a_trial_is_given_up_as_soon_as_no_more_tokens_could_save_it():
    reader = TrialReader(ExitRules(confidence=0.9, max_trial_tokens=10, max_entropy=0.5))
    least = 10 * math.log(0.9)

    assert not reader.is_hopeless(0.5, least + 1e-9)
    assert reader.is_hopeless(0.5, least - 1e-9)
    assert reader.is_hopeless(0.51, 0.0)
    assert reader.is_hopeless(math.nan, 0.0)
    assert reader.is_hopeless(0.0, math.nan)


def test_confidence_is_the_geometric_mean_probability():
    assert TrialReader(RULES).confidence(math.log(0.5) + math.log(0.125), 2) == pytest.approx(0.25)


def watch(rules=RULES, budget=1000, prefix=()):
    return Watch(rules, Agreement(rules), budget, prefix)


def feed(watching, tokens):
    """The places at which it wanted a trial, which it says one token later."""
    places = []
    for token in [*tokens, 0]:
        watching.feed(token, ends_step=token == STEP_END)
        if watching.wants_trial:
            places.append(watching.thinking_tokens - 1)
    return places


def test_trials_start_where_steps_end():
    assert feed(watch(), [1, 2, STEP_END, 3, 4, STEP_END]) == [3, 6]


def test_a_trial_that_was_lost_is_not_tried_again_at_once():
    watching = watch()
    feed(watching, [1] * 5)

    watching.lose()

    assert feed(watching, [STEP_END] * 30)[0] == 6 + 10  # min_gap_tokens after the loss


def test_thinking_that_repeats_itself_calls_for_a_trial_anywhere():
    rules = ExitRules(min_thinking_tokens=0, repetition_window=5)

    assert feed(watch(rules), [1] * 20)[:1] == [11]
    assert feed(watch(rules), range(100, 130)) == []


def test_a_resumed_thinking_is_seen_whole():
    resumed = watch(ExitRules(min_thinking_tokens=0, repetition_window=5), prefix=[1] * 12)

    assert resumed.thinking_tokens == 12
    assert feed(resumed, [1]) == [12, 13]


def test_a_loop_without_an_answer_is_closed():
    watching = watch(ExitRules(loop_trials=3, repetition_window=5))
    for token in [1] * 20:
        watching.feed(token, ends_step=False)

    stops = [watching.end(outcome(), by_repetition=True) for _ in range(3)]

    assert stops == [None, None, ThinkingStop.CONVERGED]


def test_a_search_that_resembles_itself_for_a_while_is_no_loop():
    watching = watch(ExitRules(loop_trials=2, repetition_window=5))
    for token in [1] * 20:
        watching.feed(token, ends_step=False)
    assert watching.end(outcome(), by_repetition=True) is None

    for token in [*range(100, 120), *[1] * 20]:
        watching.feed(token, ends_step=False)

    assert watching.end(outcome(), by_repetition=True) is None


def test_unsure_trials_at_steps_are_no_loop():
    watching = watch(ExitRules(loop_trials=1))

    assert watching.end(outcome(), by_repetition=False) is None


def test_giving_up_is_off_unless_asked_for():
    watching = watch(budget=1)
    feed(watching, [1] * 5)

    assert watching.end(outcome(), by_repetition=False) is None


@pytest.mark.parametrize(
    ("confidence", "spent", "stop"),
    [(0.1, 500, ThinkingStop.GAVE_UP), (0.3, 500, None), (0.1, 499, None)],
)
def test_thinking_that_gets_nowhere_is_given_up(confidence, spent, stop):
    watching = watch(ExitRules(give_up_confidence=0.2, give_up_share=0.5))
    for token in range(spent):
        watching.feed(token, ends_step=False)

    assert watching.end(outcome(confidence=confidence), by_repetition=False) is stop
