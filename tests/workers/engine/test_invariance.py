"""A request's tokens depend on the request alone."""

import pytest

SAMPLED = {"temperature": 0.8, "top_p": 0.9}
VARIANTS = ("qwen3", "qwen3-sliding", "qwen2-half-sliding")
MODES = pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])


def tokens_of(results):
    return {name: result[:2] for name, result in results.items()}


@pytest.fixture
def alone(make_engine, make_request, run):
    """The tokens of requests, each run in an engine of its own."""

    def run_alone(variant: str, count: int, **overrides):
        requests = [make_request(index, **overrides) for index in range(count)]
        results = [run(make_engine(variant), request) for request in requests]
        return tokens_of({name: value for result in results for name, value in result.items()})

    return run_alone


@MODES
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_changes_no_token(make_engine, make_request, run, alone, variant, sampling):
    requests = [make_request(index, **sampling) for index in range(6)]

    batched = run(make_engine(variant), *requests)

    assert tokens_of(batched) == alone(variant, 6, **sampling)


@MODES
@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_the_chunk_size_changes_no_token(make_engine, make_request, run, alone, chunk, sampling):
    requests = [make_request(index, **sampling) for index in range(4)]

    chunked = run(make_engine(prefill_chunk_tokens=chunk), *requests)

    assert tokens_of(chunked) == alone("qwen3-sliding", 4, **sampling)


@MODES
@pytest.mark.parametrize("variant", VARIANTS)
def test_preemption_changes_no_token(make_engine, make_request, run, variant, sampling):
    prompts = [{"prompt_ids": [1, 10 + i, 3]} for i in range(6)]
    requests = [make_request(i, **prompts[i], **sampling) for i in range(6)]
    apart = [run(make_engine(variant), request) for request in requests]
    engine = make_engine(variant, num_pages=14, watermark=0.0, prefill_chunk_tokens=24)

    together = run(engine, *requests)

    assert engine.scheduler.num_preemptions > 0
    assert tokens_of(together) == tokens_of({k: v for one in apart for k, v in one.items()})


@MODES
@pytest.mark.parametrize("cut", [1, 9, 23, 24])
def test_resuming_from_a_prefix_changes_no_token(
    make_engine, make_request, run, alone, cut, sampling
):
    (thinking, answer) = alone("qwen3-sliding", 1, **sampling)["r0"]
    assert len(thinking) == 24

    request = make_request(0, thinking_prefix_ids=thinking[:cut], **sampling)
    rest, resumed_answer, _, finished = run(make_engine(), request)["r0"]

    assert thinking[:cut] + rest == thinking
    assert resumed_answer == answer
    assert finished.usage.thinking_tokens == 24


def test_escalation_thinks_on_where_the_budget_cut(make_engine, make_request, run, alone):
    full, answer = alone("qwen3-sliding", 1, **SAMPLED)["r0"]
    first = make_request(0, thinking_budget=10, answer_on_exhaustion=False, **SAMPLED)

    head, *_ = run(make_engine(), first)["r0"]
    second = make_request(0, thinking_prefix_ids=head, **SAMPLED)
    tail, resumed_answer, *_ = run(make_engine(), second)["r0"]

    assert (head + tail, resumed_answer) == (full, answer)


def test_seeds_make_different_thoughts(make_engine, make_request, run):
    requests = [
        make_request(0, request_id=str(seed), seed=seed, temperature=1.0) for seed in range(4)
    ]

    results = run(make_engine(), *requests)

    assert len({tuple(result[0]) for result in results.values()}) == 4


def test_an_engine_fed_marker_equals_one_in_the_prompt(make_engine, make_request, run):
    request = make_request(0)
    unopened = make_request(0, prompt_ids=request.prompt_ids[:-1], prompt_opens_thinking=False)

    opened, fed = run(make_engine(), request)["r0"], run(make_engine(), unopened)["r0"]

    assert opened[:2] == fed[:2]
    assert fed[3].usage.forced_tokens == opened[3].usage.forced_tokens + 1


@MODES
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8])
def test_no_batch_size_changes_a_token(make_engine, make_request, run, alone, count, sampling):
    requests = [make_request(index, **sampling) for index in range(count)]

    batched = run(make_engine("qwen3"), *requests)

    assert tokens_of(batched) == alone("qwen3", count, **sampling)


@MODES
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prefix_hit_changes_no_token(make_engine, make_request, run, variant, sampling):
    head = [1, *(11 + 3 * i for i in range(20))]
    requests = [make_request(i, prompt_ids=[*head, 50 + i % 2, 3], **sampling) for i in range(6)]
    apart = [run(make_engine(variant, prefix_cache=False), request) for request in requests]
    engine = make_engine(variant)

    shared = [run(engine, request) for request in requests[:3]]
    shared.append(run(engine, *requests[3:]))

    assert engine.load().prefix_tokens >= 5 * 20
    assert tokens_of(merged(shared)) == tokens_of(merged(apart))


@MODES
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_thinking_found_in_the_cache_changes_no_token(
    make_engine, make_request, run, variant, sampling
):
    engine = make_engine(variant)
    whole = run(make_engine(variant), make_request(1, **sampling))["r1"]
    first = make_request(1, thinking_budget=15, answer_on_exhaustion=False, **sampling)
    head, *_ = run(engine, first)["r1"]

    rest = run(engine, make_request(1, thinking_prefix_ids=head, **sampling))["r1"]

    assert engine.load().prefix_tokens >= 12
    assert (head + rest[0], rest[1]) == whole[:2]


@MODES
@pytest.mark.parametrize("variant", VARIANTS)
def test_giving_a_slot_up_and_coming_back_changes_no_token(
    make_engine, make_request, run, variant, sampling
):
    requests = [make_request(index, **sampling) for index in range(7)]
    apart = [run(make_engine(variant), request) for request in requests]
    engine = make_engine(
        variant, max_running=2, probation_tokens=6, preemption_grace_s=0.0, demoted_floor=0.0
    )

    together = run(engine, *requests)

    assert engine.scheduler.num_preemptions > 1
    assert tokens_of(together) == tokens_of(merged(apart))


def test_a_prediction_changes_no_token(make_engine, make_request, run, alone):
    expectations = (None, 0.0, 5.0, 1e6)
    requests = [make_request(i, expected_thinking_tokens=e) for i, e in enumerate(expectations)]

    results = run(make_engine(probation_tokens=2, max_running=2), *requests)

    assert tokens_of(results) == alone("qwen3-sliding", 4)


def merged(results):
    return {name: value for one in results for name, value in one.items()}
