"""Budgets are exact to the token, and every request that may answer does."""

import pytest
import torch

from workers.engine import FinishReason, ThinkingStop

EOS, OPEN, CLOSE, WRAP = 2, 3, 4, (5, 6)
MODES = pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])


@MODES
@pytest.mark.parametrize("budget", [0, 1, 2, 13, 60])
@pytest.mark.parametrize("num_pages", [400, 23], ids=["roomy", "preempting"])
def test_no_request_exceeds_its_budget(
    make_engine, make_request, run, budget, temperature, num_pages
):
    engine = make_engine("qwen3", num_pages=num_pages, watermark=0.0)
    requests = [make_request(i, thinking_budget=budget, temperature=temperature) for i in range(5)]

    for thinking, answer, logprobs, finished in run(engine, *requests).values():
        assert len(thinking) == finished.usage.thinking_tokens <= budget
        assert 1 <= len(answer) == finished.usage.answer_tokens <= 8
        assert len(logprobs) == len(answer)
        assert (finished.stop is ThinkingStop.FINISHED) or len(thinking) == budget
        assert not {OPEN, CLOSE, EOS} & {*thinking, *answer}


def test_forced_tokens_are_counted_apart(make_engine, make_request, run):
    thinking, _, _, finished = run(make_engine(), make_request(0, thinking_budget=5))["r0"]

    assert finished.stop is ThinkingStop.EXHAUSTED
    assert len(thinking) == 5
    assert finished.usage.forced_tokens == len(WRAP) + 1


def test_the_forced_close_is_read_by_the_model(models, make_engine, make_request, run):
    request = make_request(0, thinking_budget=5)

    thinking, answer, *_ = run(make_engine(), request)["r0"]

    text = [*request.prompt_ids, *thinking, *WRAP, CLOSE, *answer]
    with torch.no_grad():
        logits = models("qwen3-sliding")[1](torch.tensor([text])).logits[0].clone()
    logits[:, [OPEN, CLOSE]] = float("-inf")
    first = len(text) - len(answer)
    logits[first - 1, EOS] = float("-inf")
    assert logits.argmax(-1)[first - 1 : -1].tolist() == answer


def test_exhaustion_without_answer_ends_the_request(make_engine, make_request, run):
    request = make_request(0, thinking_budget=7, answer_on_exhaustion=False)

    thinking, answer, _, finished = run(make_engine(), request)["r0"]

    assert (len(thinking), answer) == (7, [])
    assert (finished.stop, finished.reason) == (ThinkingStop.EXHAUSTED, FinishReason.EXHAUSTED)


def test_usage_counts_every_token(make_engine, make_request, run):
    request = make_request(2, max_answer_tokens=3)

    thinking, answer, _, finished = run(make_engine(), request)["r2"]

    assert finished.usage.prompt_tokens == len(request.prompt_ids)
    assert finished.usage.thinking_tokens == len(thinking)
    assert finished.usage.answer_tokens == len(answer)
    assert finished.usage.engine_seconds > 0
    assert 0 <= finished.queue_s <= finished.first_token_s


def test_a_sliding_model_holds_a_bounded_number_of_pages(make_engine, make_request, run):
    engine = make_engine("qwen3-sliding", max_model_len=400, prefill_chunk_tokens=8)

    finished = run(engine, make_request(10, thinking_budget=300))["r10"][3]

    bytes_per_page = 2 * 3 * 2 * 16 * 4 * 4  # keys and values, layers, heads, dim, page, float32
    assert finished.usage.thinking_tokens > 200
    assert finished.usage.peak_kv_bytes <= 5 * bytes_per_page
