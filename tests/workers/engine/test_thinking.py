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
