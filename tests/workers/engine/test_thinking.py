from dataclasses import replace
from typing import Any

import pytest

from workers.engine import EngineRequest, FinishReason, SpecialTokens, ThinkingStop
from workers.engine.thinking import BanSet, Phase, ThinkingState, TokenKind

EOS, OPEN, CLOSE, WRAP = 2, 3, 4, (5, 6)
TOKENS = SpecialTokens(
    eos_ids=frozenset({EOS}), think_open_id=OPEN, think_close_id=CLOSE, wrap_up_ids=WRAP
)


def request(**overrides) -> EngineRequest:
    settings: dict[str, Any] = {
        "request_id": "r",
        "prompt_ids": [1, OPEN],
        "thinking_budget": 2,
        "max_answer_tokens": 3,
    }
    return EngineRequest(**(settings | overrides))


def start(tokens: SpecialTokens = TOKENS, **overrides) -> tuple[ThinkingState, list[int]]:
    state = ThinkingState(request(**overrides), tokens)
    return state, state.open(request(**overrides))


def test_the_budget_forces_wrap_up_and_close_as_input():
    state, _ = start()

    assert state.observe(20).forced == ()
    verdict = state.observe(21)

    assert verdict.forced == (*WRAP, CLOSE)
    assert (state.stop, state.phase) == (ThinkingStop.EXHAUSTED, Phase.CLOSE)
    assert (state.thinking_tokens, state.forced_tokens) == (2, 3)


def test_budget_0_closes_in_the_prefill():
    state, ids = start(thinking_budget=0)

    assert ids == [1, OPEN, *WRAP, CLOSE]
    assert (state.phase, state.thinking_tokens) == (Phase.CLOSE, 0)


def test_a_prefix_counts_towards_the_budget():
    state, ids = start(thinking_prefix_ids=[20, 21], thinking_budget=2)

    assert ids == [1, OPEN, 20, 21, *WRAP, CLOSE]
    assert state.thinking_tokens == 2


def test_an_unopened_prompt_is_opened_by_the_engine():
    state, ids = start(prompt_ids=[1], prompt_opens_thinking=False)

    assert ids == [1, OPEN]
    assert state.forced_tokens == 1


def test_an_unopened_prompt_without_budget_is_answered_at_once():
    state, ids = start(prompt_ids=[1], prompt_opens_thinking=False, thinking_budget=0)

    assert ids == [1]
    assert state.ban is BanSet.FIRST_ANSWER
    assert state.stop is ThinkingStop.NONE


def test_the_models_own_close_finishes_the_thinking():
    state, _ = start()

    verdict = state.observe(CLOSE)

    assert (verdict.kind, verdict.forced) == (TokenKind.MARKER, ())
    assert (state.stop, state.thinking_tokens) == (ThinkingStop.FINISHED, 0)


def test_end_of_sequence_inside_thinking_is_replaced_by_the_close():
    state, _ = start()

    verdict = state.observe(EOS)

    assert (verdict.kind, verdict.forced) == (TokenKind.END, (CLOSE,))
    assert (state.stop, state.phase) == (ThinkingStop.FINISHED, Phase.CLOSE)


def test_the_first_answer_token_cannot_be_an_end_and_no_marker_may_follow():
    state, _ = start()
    state.observe(CLOSE)
    assert TOKENS.banned_ids(state.ban) == {OPEN, CLOSE, EOS}

    state.observe(30)

    assert TOKENS.banned_ids(state.ban) == {OPEN, CLOSE}


def test_thinking_must_not_open_twice():
    state, _ = start()

    assert TOKENS.banned_ids(state.ban) == {OPEN}


@pytest.mark.parametrize(
    ("answer", "reason", "count"),
    [([30, 31, 32], FinishReason.LENGTH, 3), ([30, EOS], FinishReason.STOP, 1)],
)
def test_an_answer_ends_by_itself_or_by_its_limit(answer, reason, count):
    state, _ = start()
    for token in (CLOSE, *answer):
        state.observe(token)

    assert (state.phase, state.reason, state.answer_tokens) == (Phase.DONE, reason, count)


def test_exhaustion_without_answer_is_the_end():
    state, _ = start(answer_on_exhaustion=False)
    state.observe(20)

    verdict = state.observe(21)

    assert (verdict.kind, verdict.forced) == (TokenKind.THINKING, ())
    assert (state.reason, state.stop) == (FinishReason.EXHAUSTED, ThinkingStop.EXHAUSTED)


def test_cancelling_an_answer_keeps_the_thinking_stop():
    state, _ = start()
    state.observe(CLOSE)

    state.end(FinishReason.CANCELLED)

    assert (state.stop, state.reason) == (ThinkingStop.FINISHED, FinishReason.CANCELLED)


def test_cancelling_a_thought_says_so():
    state, _ = start()

    state.end(FinishReason.CANCELLED)

    assert state.stop is ThinkingStop.CANCELLED


def test_a_model_without_markers_answers_at_once():
    state, ids = start(SpecialTokens(eos_ids=frozenset({EOS})), prompt_ids=[1])

    assert ids == [1]
    assert state.observe(20).kind is TokenKind.ANSWER
    assert state.stop is ThinkingStop.NONE


def test_a_thinking_told_to_close_thinks_one_more_token_and_answers():
    state, _ = start(thinking_budget=100, answer_on_exhaustion=False)
    state.observe(20)

    state.close_soon()
    verdict = state.observe(21)

    assert verdict.forced == (*WRAP, CLOSE)
    assert (state.stop, state.thinking_tokens) == (ThinkingStop.EXHAUSTED, 2)


def test_a_thinking_told_to_close_stays_within_its_budget():
    state, _ = start(thinking_budget=2)
    state.observe(20)

    state.close_soon()
    state.observe(21)

    assert (state.phase, state.thinking_tokens) == (Phase.CLOSE, 2)


STEP_END = 40
STEPS = replace(TOKENS, step_end_ids=frozenset({STEP_END}))


def test_a_budget_ends_with_the_last_step_that_ends_within_its_grace():
    state, _ = start(STEPS, thinking_budget=20, cut_grace_tokens=3)
    for token in (STEP_END, *[20] * 15):
        assert state.observe(token).forced == ()

    assert state.observe(STEP_END).forced == (*WRAP, CLOSE)
    assert (state.stop, state.thinking_tokens) == (ThinkingStop.EXHAUSTED, 17)


def test_a_step_that_ends_before_the_grace_goes_on():
    state, _ = start(STEPS, thinking_budget=20, cut_grace_tokens=3)
    for _ in range(15):
        state.observe(20)

    assert not state.observe(STEP_END).turned


def test_a_budget_is_never_exceeded_for_the_sake_of_a_step():
    state, _ = start(STEPS, thinking_budget=20, cut_grace_tokens=3)
    for _ in range(19):
        state.observe(20)

    assert state.observe(20).forced == (*WRAP, CLOSE)
    assert state.thinking_tokens == 20


def test_a_thinking_that_is_resumed_elsewhere_uses_its_whole_budget():
    state, _ = start(STEPS, thinking_budget=3, cut_grace_tokens=3, answer_on_exhaustion=False)

    assert [state.observe(STEP_END).turned for _ in range(3)] == [False, False, True]
    assert state.thinking_tokens == 3


def test_a_thinking_is_closed_where_it_stands():
    state, _ = start(thinking_budget=100, answer_on_exhaustion=False)
    state.observe(20)

    assert state.close_now(ThinkingStop.CONVERGED) == (*WRAP, CLOSE)
    assert (state.stop, state.phase) == (ThinkingStop.CONVERGED, Phase.CLOSE)


def test_a_tool_call_ends_the_thinking_and_no_budget_cuts_into_it():
    # vLLM issue 44676: a budget that fired inside a tool call put </think> into its JSON.
    state, _ = start(replace(TOKENS, tool_call_id=50), thinking_budget=2, max_answer_tokens=9)
    state.observe(20)

    assert state.observe(50).kind is TokenKind.ANSWER
    assert [state.observe(token).forced for token in (51, 52, 53)] == [(), (), ()]
    assert (state.stop, state.thinking_tokens) == (ThinkingStop.FINISHED, 1)
