import pytest

from workers.engine import (
    CheckpointError,
    EngineConfig,
    FinishReason,
    InvalidRequest,
    LLMEngine,
    SpecialTokens,
    ThinkingStop,
)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"prompt_ids": []}, "prompt_ids"),
        ({"prompt_ids": [97]}, "prompt_ids"),
        ({"thinking_prefix_ids": [-1]}, "thinking_prefix_ids"),
        ({"max_answer_tokens": 0}, "max_answer_tokens"),
        ({"thinking_budget": -1}, "thinking_budget"),
        ({"thinking_budget": 1, "thinking_prefix_ids": [9, 9]}, "thinking_budget"),
        ({"thinking_budget": 0, "answer_on_exhaustion": False}, "thinking_budget"),
        ({"thinking_budget": 10_000}, "prompt .*max_model_len 400: shorten the prompt"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_a_request_that_can_never_run_names_its_field(make_engine, make_request, overrides, field):
    engine = make_engine()

    with pytest.raises(InvalidRequest, match=field):
        engine.add_request(make_request(**overrides))

    assert not engine.has_work


def test_a_request_id_is_used_once_at_a_time(make_engine, make_request, run):
    engine = make_engine()
    engine.add_request(make_request())

    with pytest.raises(InvalidRequest, match="request_id"):
        engine.add_request(make_request())
    while engine.has_work:
        engine.step()

    assert "r0" in run(engine, make_request())


@pytest.mark.parametrize("steps", [0, 1, 5, 30])
def test_abort_ends_a_request_within_one_step(make_engine, make_request, steps):
    engine = make_engine()
    engine.add_request(make_request(thinking_budget=100))
    for _ in range(steps):
        engine.step()

    engine.abort("r0")
    outputs = engine.step()

    assert outputs[-1].finished.reason is FinishReason.CANCELLED
    assert outputs[-1].finished.stop is ThinkingStop.CANCELLED
    assert engine.pool.num_free == engine.pool.capacity
    assert not engine.has_work


def test_abort_of_an_unknown_request_is_no_error(make_engine):
    engine = make_engine()

    engine.abort("nobody")

    assert not engine.has_work


def test_thinking_streams_in_chunks_and_answers_token_by_token(make_engine, make_request):
    engine = make_engine(thinking_stream_tokens=5)
    engine.add_request(make_request(thinking_budget=13))
    outputs = []
    while engine.has_work:
        outputs += engine.step()

    assert [len(o.thinking_ids) for o in outputs if o.thinking_ids] == [5, 5, 3]
    assert [len(o.answer_ids) for o in outputs if o.answer_ids] == [1] * 8
    assert [o.finished is not None for o in outputs][-1]


def test_load_tells_what_was_measured(make_engine, make_request, run):
    engine = make_engine()
    run(engine, make_request(0), make_request(1))

    load = engine.load()

    assert (load.running, load.waiting, load.finished) == (0, 0, 2)
    assert load.pages_free == load.pages_total == 399
    assert load.tokens_per_s > 0
    assert 0 < load.time_per_output_token_s < load.busy_s
    assert load.time_to_first_token_s > 0


def test_a_model_without_thinking_tokens_answers_and_says_so(models, make_request, run, caplog):
    directory, _ = models("qwen3")
    engine = LLMEngine(
        EngineConfig(model_dir=directory, num_pages=100, max_model_len=300),
        SpecialTokens(eos_ids=frozenset({2})),
    )

    thinking, answer, _, finished = run(engine, make_request(prompt_ids=[1, 20, 21]))["r0"]

    assert "no thinking tokens" in caplog.text
    assert thinking == []
    assert answer
    assert finished.stop is ThinkingStop.NONE


def test_tokens_outside_the_vocabulary_are_a_checkpoint_error(models):
    directory, _ = models("qwen3")

    with pytest.raises(CheckpointError, match="special token 97"):
        LLMEngine(EngineConfig(model_dir=directory), SpecialTokens(eos_ids=frozenset({97})))


def test_the_pool_is_sized_for_full_batches(models):
    directory, _ = models("qwen3-sliding")
    config = EngineConfig(model_dir=directory, max_running=4, max_model_len=256, watermark=0.0)

    engine = LLMEngine(config, SpecialTokens(eos_ids=frozenset({2})))

    assert engine.pool.capacity == 4 * 16 + 1


def test_a_wrong_configuration_names_every_field(tmp_path):
    with pytest.raises(ValueError, match=r"page_size.*dtype.*watermark"):
        EngineConfig(model_dir=tmp_path, page_size=0, dtype="int8", watermark=1.0)
