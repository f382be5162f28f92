"""Early exit on the real engine: it saves thinking, and changes nothing else."""

import pytest

from tests.workers.early_exit.conftest import changed, early_exit, make_engine, run_all
from tests.workers.engine.test_pipeline import pipeline
from workers.engine import FinishReason, ThinkingStop

NEVER = {"confidence": 1.0, "min_thinking_tokens": 0, "min_gap_tokens": 1, "loop_trials": 10_000}
"""Trials at every line, none of which is ever sure enough."""
EAGER = {"confidence": 0.3, "max_entropy": 9.0, "agreement": 1}
MODES = pytest.mark.parametrize("temperature", [0.0, 0.4], ids=["greedy", "sampled"])


@MODES
@pytest.mark.parametrize("num_pages", [None, 40], ids=["roomy", "preempting"])
def test_a_request_on_which_no_exit_fires_keeps_every_token(
    tokenizer, requests, temperature, num_pages
):
    requests = changed(requests, temperature=temperature, thinking_budget=200)
    plain = make_engine(tokenizer, num_pages=num_pages)
    expected = run_all(plain, requests)
    engine = make_engine(tokenizer, early_exit(tokenizer, **NEVER), num_pages=num_pages)

    found = run_all(engine, requests)

    assert sum(one.usage.probe_tokens for one in found.values()) > 0
    for request_id, one in found.items():
        other = expected[request_id]
        assert one.thinking_ids == other.thinking_ids
        assert one.answer_ids == other.answer_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.stop is other.stop
    if num_pages:
        assert plain.scheduler.num_preemptions > 0


@MODES
def test_an_exit_answers_what_the_thinking_cut_there_answers(tokenizer, requests, temperature):
    requests = changed(requests, temperature=temperature)
    exited = run_all(make_engine(tokenizer, early_exit(tokenizer)), requests)
    sure = {
        request_id: one for request_id, one in exited.items() if one.stop is ThinkingStop.CONFIDENT
    }
    assert sure
    cut = [
        changed([one], thinking_budget=len(sure[one.request_id].thinking_ids))[0]
        for one in requests
        if one.request_id in sure
    ]

    expected = run_all(make_engine(tokenizer), cut)

    for request_id, one in sure.items():
        other = expected[request_id]
        assert (one.thinking_ids, one.answer_ids) == (other.thinking_ids, other.answer_ids)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_an_exit_thinks_a_part_of_what_no_exit_thinks(tokenizer, requests):
    plain = run_all(make_engine(tokenizer), requests)

    exited = run_all(make_engine(tokenizer, early_exit(tokenizer, repetition=1.0)), requests)

    for request_id, one in exited.items():
        thought = len(one.thinking_ids)
        assert one.thinking_ids == plain[request_id].thinking_ids[:thought]
        if one.stop is ThinkingStop.CONFIDENT:
            assert thought < len(plain[request_id].thinking_ids)
            assert tokenizer.decode(one.thinking_ids[-1:]) == "\n"


@pytest.mark.parametrize("rules", [{}, NEVER, {"max_entropy": 0.0}], ids=["on", "never", "gated"])
def test_the_books_hold_every_token_that_was_sampled(tokenizer, requests, rules):
    engine = make_engine(tokenizer, early_exit(tokenizer, **rules))

    done = run_all(engine, requests)

    fed = sampled = 0
    for one in done.values():
        usage = one.usage
        assert usage.thinking_tokens == len(one.thinking_ids)
        assert usage.answer_tokens == len(one.answer_ids)
        sampled += usage.thinking_tokens + usage.answer_tokens + usage.probe_tokens
        sampled += one.reason is FinishReason.STOP
        sampled += one.stop is ThinkingStop.FINISHED
        fed += usage.forced_tokens
    # A trial that came to nothing was fed one token, which its probe tokens count too.
    trials = sampled - engine.metrics.sampled_tokens
    assert 0 <= trials <= sum(one.usage.probe_tokens for one in done.values()) / 2
    assert fed == sum(one.stop is not ThinkingStop.FINISHED for one in done.values())


def test_trials_give_way_to_requests_when_pages_run_out(tokenizer, requests):
    engine = make_engine(tokenizer, early_exit(tokenizer, **NEVER), num_pages=50)

    run_all(engine, changed(requests, thinking_budget=300))

    assert engine.scheduler.branches.num_dropped > 0


def test_no_room_for_branches_means_no_exit(tokenizer, requests):
    engine = make_engine(tokenizer, early_exit(tokenizer), max_branch_share=0.0)

    done = run_all(engine, requests)

    assert not any(one.usage.probe_tokens for one in done.values())
    assert ThinkingStop.CONFIDENT not in {one.stop for one in done.values()}


def test_a_loop_is_closed_when_no_trial_is_sure(tokenizer, requests):
    rules = {**NEVER, "min_gap_tokens": 10_000, "max_gap_tokens": 10_000, "loop_trials": 3}
    engine = make_engine(tokenizer, early_exit(tokenizer, **rules))

    done = run_all(engine, changed(requests, temperature=0.0))

    stops = [one.stop for one in done.values()]
    assert ThinkingStop.CONVERGED in stops
    assert all(one.answer_ids for one in done.values())


def test_thinking_that_gets_nowhere_is_given_up_when_asked(tokenizer, requests):
    engine = make_engine(
        tokenizer, early_exit(tokenizer, **NEVER, give_up_confidence=1.0, give_up_share=0.1)
    )

    done = run_all(engine, requests)

    given_up = [one for one in done.values() if one.stop is ThinkingStop.GAVE_UP]
    assert given_up
    assert all(len(one.thinking_ids) >= 40 and one.answer_ids for one in given_up)


def test_with_a_trial_text_the_request_answers_anew(tokenizer, requests):
    engine = make_engine(tokenizer, early_exit(tokenizer, **EAGER, trial_text=" "))

    done = run_all(engine, requests)

    sure = [one for one in done.values() if one.stop is ThinkingStop.CONFIDENT]
    assert sure
    for one in sure:
        assert one.usage.forced_tokens == 1  # </think>, not the trial's text
        assert one.usage.probe_tokens > 0


def test_a_segment_that_resumes_goes_on_as_if_it_had_not_been_cut(tokenizer, requests):
    whole = run_all(make_engine(tokenizer, early_exit(tokenizer)), requests)
    cut = [
        changed([one], thinking_prefix_ids=tuple(whole[one.request_id].thinking_ids[:30]))[0]
        for one in requests
    ]

    resumed = run_all(make_engine(tokenizer, early_exit(tokenizer)), cut)

    for one in cut:
        thought = [*one.thinking_prefix_ids, *resumed[one.request_id].thinking_ids]
        assert thought == whole[one.request_id].thinking_ids
        assert resumed[one.request_id].answer_ids == whole[one.request_id].answer_ids


@pytest.mark.parametrize("budget", [0, 1, 2, 45, 130])
@MODES
def test_no_budget_is_exceeded_and_everybody_answers(tokenizer, requests, budget, temperature):
    engine = make_engine(tokenizer, early_exit(tokenizer, min_thinking_tokens=0, agreement=1))
    asked = changed(
        requests, thinking_budget=budget, temperature=temperature, cut_grace_tokens=budget // 10
    )

    for one in run_all(engine, asked).values():
        assert len(one.thinking_ids) == one.usage.thinking_tokens <= budget
        assert one.answer_ids


def test_exits_are_the_same_on_rows_that_a_device_would_hold(tokenizer, requests):
    """The runner is a step ahead of what the controller promotes and closes."""
    expected = run_all(make_engine(tokenizer, early_exit(tokenizer)), requests[:6])
    engine = make_engine(tokenizer, early_exit(tokenizer), prefix_cache=False)

    found = run_all(pipeline(engine, buckets=(1, 8, 32)), requests[:6])

    for request_id, one in found.items():
        other = expected[request_id]
        assert (one.stop, one.thinking_ids) == (other.stop, other.thinking_ids)
        assert one.answer_ids == other.answer_ids
        assert one.usage.probe_tokens == other.usage.probe_tokens
    assert ThinkingStop.CONFIDENT in {one.stop for one in found.values()}
