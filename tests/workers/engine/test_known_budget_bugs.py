"""What other engines got wrong about thinking budgets, one test per bug, by its report.

Left out is what cannot happen here yet: budgets under speculative decoding (vLLM 39573, 54906,
SGLang 26330, omlx 2617) come with speculative decoding. Probes that change the request:
tests/workers/early_exit. Half characters at a cut (llama.cpp 20297): tests/workers/test_tokenizer.
"""

from dataclasses import replace

import pytest

from tests.workers.engine.conftest import special_tokens
from workers.engine import LLMEngine, ThinkingStop
from workers.engine.thinking import Phase

EOS, OPEN, CLOSE, WRAP = 2, 3, 4, (5, 6)
SAMPLED = {"temperature": 0.9, "top_p": 0.9}
LONG = 5  # this request thinks for longer than any budget here
FAVOURED = 1e4


def favour(engine, monkeypatch, *tokens):
    """The model wants nothing but these tokens from now on."""
    decoder = engine.runner.decoder
    logits_of = decoder.logits

    def logits(hidden):
        found = logits_of(hidden)
        found[:, list(tokens)] += FAVOURED
        return found

    monkeypatch.setattr(decoder, "logits", logits)


def test_a_budget_holds_when_no_sampling_option_is_set(make_engine, make_request, run):
    """spark-vllm-docker 357: at temperature 0 the sampler skipped the budget."""
    thinking, answer, _, finished = run(make_engine(), make_request(LONG, thinking_budget=9))["r5"]

    assert (len(thinking), finished.stop) == (9, ThinkingStop.EXHAUSTED)
    assert answer


def test_thinking_is_not_entered_again_after_a_forced_close(
    make_engine, make_request, run, monkeypatch
):
    """vLLM 43708: after a forced close of several tokens the model reopened <think>."""
    engine = make_engine()
    favour(engine, monkeypatch, OPEN, CLOSE)

    for index in range(3):
        request = make_request(index, thinking_budget=7 * index, **SAMPLED)
        _, answer, _, _ = run(engine, request)[f"r{index}"]
        assert answer
        assert not {OPEN, CLOSE, EOS} & set(answer)


def test_no_budget_cuts_into_a_tool_call(make_engine, make_request, run, monkeypatch):
    """vLLM 44676: </think> was forced into the JSON of a tool call."""
    tool_call = 50
    tokens = replace(special_tokens(), tool_call_id=tool_call)
    engine = LLMEngine(make_engine().config, tokens)
    favour(engine, monkeypatch, tool_call)

    thinking, answer, _, finished = run(engine, make_request(0, thinking_budget=3))["r0"]

    assert (thinking, finished.stop) == ([], ThinkingStop.FINISHED)
    assert answer == [tool_call] * 8
    assert finished.usage.forced_tokens == 0


@pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_rows_that_come_and_go_do_not_mix_their_budgets(make_engine, make_request, run, sampling):
    """vLLM: rows that changed places in the batch shared the state of their budgets."""
    budgets = {0: 3, 1: 40, 2: 0, 3: 17, 4: 1, 5: 29, 6: 8, 7: 11, 8: 2, 9: 33}
    requests = [
        make_request(i, thinking_budget=budget, **sampling) for i, budget in budgets.items()
    ]

    together = run(make_engine(max_running=3), *requests)

    for request in requests:
        name = request.request_id
        assert together[name][:2] == run(make_engine(), request)[name][:2]
        assert len(together[name][0]) <= request.thinking_budget


@pytest.mark.parametrize("budget", [0, 1, 4, 5])
def test_a_budget_that_the_prefix_has_spent_is_closed_at_once(
    make_engine, make_request, run, budget
):
    """vLLM: a budget that was exhausted in the prompt, when thinking is continued."""
    prefix = tuple(range(20, 20 + budget))
    request = make_request(LONG, thinking_budget=budget, thinking_prefix_ids=prefix)

    thinking, answer, _, finished = run(make_engine(), request)["r5"]

    assert (thinking, finished.usage.thinking_tokens) == ([], budget)
    assert finished.usage.forced_tokens == len(WRAP) + 1
    assert answer


def test_thinking_counts_whoever_opened_it(make_engine, make_request, run):
    """vLLM 44398: no reasoning tokens were counted when <think> stood in the prompt."""
    opened = make_request(LONG)
    unopened = make_request(
        LONG, prompt_ids=opened.prompt_ids[:-1], prompt_opens_thinking=False, request_id="other"
    )

    results = run(make_engine(), opened, unopened)

    usages = [results[name][3].usage for name in ("r5", "other")]
    assert usages[0].thinking_tokens == usages[1].thinking_tokens == len(results["r5"][0]) > 0
    assert results["r5"][:2] == results["other"][:2]


def test_thinking_never_eats_the_answer(make_engine, make_request, run):
    """vLLM 38894: thinking used up max_tokens, and the content was empty."""
    request = make_request(LONG, thinking_budget=60, max_answer_tokens=1)

    thinking, answer, _, _ = run(make_engine(), request)["r5"]

    assert (len(thinking), len(answer)) == (60, 1)


def test_an_old_close_in_the_prompt_does_not_switch_the_budget_off(make_engine, make_request, run):
    """SGLang's processor looked for any </think>, and found that of the turn before."""
    turn_before = [1, 30, OPEN, 31, CLOSE, 32, 33]
    request = make_request(LONG, prompt_ids=[*turn_before, 34, OPEN], thinking_budget=6)

    thinking, answer, _, finished = run(make_engine(), request)["r5"]

    assert len(thinking) <= 6
    assert finished.usage.thinking_tokens == len(thinking)
    assert finished.stop is not ThinkingStop.NONE
    assert answer


@pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_close_that_is_preempted_is_not_fed_twice(make_engine, make_request, run, sampling):
    """Preemption while the forced close is on its way."""
    request = make_request(LONG, thinking_budget=10, **sampling)
    expected = run(make_engine(), request)["r5"]
    engine = make_engine()
    engine.add_request(request)
    outputs = []
    while not any(s.thinking.phase is Phase.CLOSE for s in engine.scheduler.running):
        outputs += engine.step()

    engine.scheduler.preempt("r5", 0.0)
    while engine.has_work:
        outputs += engine.step()

    assert [token for output in outputs for token in output.thinking_ids] == expected[0]
    assert [token for output in outputs for token in output.answer_ids] == expected[1]
    assert outputs[-1].finished.usage.forced_tokens == len(WRAP) + 1


def test_a_model_that_wants_to_end_at_once_still_answers(
    make_engine, make_request, run, monkeypatch
):
    """Qwen3.6 and others: an empty answer after a short budget."""
    engine = make_engine()
    favour(engine, monkeypatch, EOS)

    thinking, answer, _, finished = run(engine, make_request(0))["r0"]

    assert (thinking, finished.stop) == ([], ThinkingStop.FINISHED)
    assert len(answer) == 1
