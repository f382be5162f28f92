"""What goes wrong in one step ends one request at most, and says what it was."""

import asyncio
import logging
from pathlib import Path

import pytest
import torch

from tests.workers.engine.conftest import special_tokens
from tests.workers.engine.sabotage import Sabotage
from workers.engine import (
    EngineConfig,
    Finished,
    FinishReason,
    LLMEngine,
    OutOfMemory,
    ThreadEngine,
)
from workers.engine.blocks import KvGeometry
from workers.engine.engine import choose_num_pages
from workers.engine.errors import RequestFailed
from workers.engine.faults import is_out_of_memory, memory_needed
from workers.engine.request import EngineOutput

CUDA_TEXT = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 1.20 GiB is free. If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
)


def drain(engine) -> dict[str, list[EngineOutput]]:
    outputs: dict[str, list[EngineOutput]] = {}
    while engine.has_work:
        for output in engine.step():
            outputs.setdefault(output.request_id, []).append(output)
        engine.scheduler.check()
    assert engine.pool.num_free == engine.pool.capacity
    return outputs


def end_of(outputs: list[EngineOutput]) -> Finished:
    end = outputs[-1].finished
    assert end is not None
    return end


def tokens_of(outputs: list[EngineOutput]):
    return (
        [token for output in outputs for token in output.thinking_ids],
        [token for output in outputs for token in output.answer_ids],
    )


def unused_token(requests, results) -> int:
    used = {token for request in requests for token in request.prompt_ids}
    used.update(*(result[0] for result in results.values()))
    used.update(*(result[1] for result in results.values()))
    return min(set(range(10, 97)) - used)


def poison_embedding(engine, token: int) -> None:
    """A weight that is not a number, met by prompts with this token alone."""
    engine.runner.decoder.weights.embedding[token] = float("nan")


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.8}, {"temperature": 0.8, "top_p": 0.9}])
@pytest.mark.parametrize("variant", ["qwen3", "qwen2-half-sliding"])
def test_logits_that_are_not_finite_fail_their_request_alone(
    make_engine, make_request, run, variant, sampling
):
    good = [make_request(index, **sampling) for index in range(4)]
    expected = run(make_engine(variant, prefill_chunk_tokens=64), *good)
    engine = make_engine(variant, prefill_chunk_tokens=64)
    poison = unused_token(good, expected)
    poison_embedding(engine, poison)
    bad = make_request(9, prompt_ids=[1, 20, poison, 3], **sampling)
    for request in (*good[:2], bad, *good[2:]):
        engine.add_request(request)

    outputs = drain(engine)

    end = end_of(outputs["r9"])
    assert end.reason is FinishReason.FAILED
    assert "token 4 (thinking tokens before it: 0) are not finite" in end.failure
    assert end.usage.prompt_tokens == 4
    assert engine.load().not_finite == engine.load().failed == 1
    for name, (thinking, answer, *_) in expected.items():
        assert tokens_of(outputs[name]) == (thinking, answer)


def test_pages_of_a_failed_request_are_clean_for_the_next(make_engine, make_request, run):
    engine = make_engine("qwen3", num_pages=12, max_model_len=40)
    bad = make_request(9, prompt_ids=[1, *[20] * 30, 96, 3], thinking_budget=1, max_answer_tokens=1)
    good = make_request(0, thinking_budget=12, max_answer_tokens=4)
    expected = run(make_engine("qwen3", max_model_len=40), good)["r0"]
    clean = engine.runner.decoder.weights.embedding[96].clone()
    poison_embedding(engine, 96)
    engine.add_request(bad)
    assert end_of(drain(engine)["r9"]).reason is FinishReason.FAILED
    engine.runner.decoder.weights.embedding[96] = clean

    engine.add_request(good)

    assert tokens_of(drain(engine)["r0"]) == expected[:2]


def test_a_prefill_that_is_not_finite_reaches_no_row_beside_it(make_engine, make_request, run):
    long = make_request(1, prompt_ids=[1, *range(20, 80), 3], thinking_budget=100)
    short = make_request(5, thinking_budget=20)
    expected = run(make_engine("qwen3"), long, short)
    engine = make_engine("qwen3", prefix_cache=False, prefill_chunk_tokens=16)
    engine.add_request(long)
    for _ in range(8):
        engine.step()
    # Its slot goes to `short`, whose page table still names its pages; `bad` takes those.
    engine.add_request(make_request(8, prompt_ids=[1, *range(20, 70), 3], thinking_budget=0))
    while len(engine.scheduler.running) + len(engine.scheduler.waiting) > 1:
        engine.step()
    poison = unused_token([long, short], expected)
    poison_embedding(engine, poison)
    engine.add_request(short)
    engine.add_request(make_request(9, prompt_ids=[1, poison, *[20] * 90, 3]))

    outputs = drain(engine)

    assert end_of(outputs["r9"]).reason is FinishReason.FAILED
    assert end_of(outputs["r1"]).reason is not FinishReason.FAILED
    assert tokens_of(outputs["r5"]) == expected["r5"][:2]


def test_a_failure_in_the_middle_of_the_thinking_says_where(make_engine, make_request):
    def fail(run, plan, logprobs):
        if run == 6:
            logprobs[0] = float("nan")

    engine = make_engine()
    Sabotage(engine, fail)
    engine.add_request(make_request(0))

    end = end_of(drain(engine)["r0"])

    assert f"token {len(make_request(0).prompt_ids) + 5} (thinking tokens before it: 5)" in (
        end.failure
    )
    assert end.usage.thinking_tokens == 5


def out_of_memory(*runs: int):
    def fail(run, plan, logprobs):
        if run in runs:
            raise torch.OutOfMemoryError(CUDA_TEXT)

    return fail


def test_out_of_memory_fails_the_largest_prefill_and_says_what_was_needed(
    make_engine, make_request, run
):
    small = [make_request(index) for index in range(3)]
    expected = run(make_engine(), *small)
    engine = make_engine()
    Sabotage(engine, out_of_memory(4))
    for request in small:
        engine.add_request(request)
    early = [output for _ in range(3) for output in engine.step()]
    engine.add_request(make_request(9, prompt_ids=[1, *range(20, 60), 3]))
    engine.add_request(make_request(8, prompt_ids=[1, 20, 3], thinking_budget=2))

    outputs = drain(engine)

    failure = end_of(outputs["r9"]).failure
    assert "Tried to allocate 2.00 GiB" in failure
    assert "1.20 GiB is free" in failure
    assert "PYTORCH_CUDA_ALLOC_CONF" not in failure
    assert end_of(outputs["r8"]).reason is not FinishReason.FAILED
    assert engine.load().out_of_memory == engine.load().failed == 1
    for name, (thinking, answer, *_) in expected.items():
        mine = [o for o in early if o.request_id == name] + outputs[name]
        assert tokens_of(mine) == (thinking, answer)


def test_out_of_memory_without_a_prefill_fails_the_longest(make_engine, make_request):
    engine = make_engine()
    Sabotage(engine, out_of_memory(2))
    engine.add_request(make_request(0))
    engine.add_request(make_request(9, prompt_ids=[1, *range(20, 60), 3]))

    outputs = drain(engine)

    assert end_of(outputs["r9"]).reason is FinishReason.FAILED
    assert end_of(outputs["r0"]).reason is not FinishReason.FAILED


def test_out_of_memory_gives_up_a_branch_before_a_request(make_engine, make_request):
    engine = make_engine()
    Sabotage(engine, out_of_memory(4))
    engine.add_request(make_request(0))
    for _ in range(3):
        engine.step()
    branch = engine.fork("r0", (4,), 4)

    outputs = drain(engine)

    assert branch.end is not None
    assert end_of(outputs["r0"]).reason is not FinishReason.FAILED


@pytest.mark.parametrize("faults", [(3,), (3, 4), (2, 4, 6, 8)])
def test_a_step_that_fails_is_run_again_and_loses_nothing(
    make_engine, make_request, run, caplog, faults
):
    def fail(run, plan, logprobs):
        if run in faults:
            raise RuntimeError("a kernel failed")

    requests = [make_request(index) for index in range(3)]
    expected = run(make_engine(), *requests)
    engine = make_engine()
    Sabotage(engine, fail)

    results = run(engine, *requests)

    assert {n: r[:2] for n, r in results.items()} == {n: r[:2] for n, r in expected.items()}
    assert engine.load().step_faults == len(faults)
    assert "a kernel failed" in caplog.text


def test_a_fault_that_repeats_ends_the_engine(make_engine, make_request):
    def fail(run, plan, logprobs):
        raise RuntimeError("device lost")

    engine = make_engine(max_step_faults=2)
    Sabotage(engine, fail)
    engine.add_request(make_request(0))

    engine.step()
    with pytest.raises(RuntimeError, match="device lost"):
        engine.step()


async def collect(stream, outputs: list[EngineOutput]) -> None:
    async for output in stream:
        outputs.append(output)


async def test_a_failed_request_raises_after_its_last_output(make_engine, make_request):
    inner = make_engine("qwen3")
    poison_embedding(inner, 96)
    outputs: list[EngineOutput] = []
    failing = make_request(9, prompt_ids=[1, 96, 3])
    async with ThreadEngine(inner) as engine, asyncio.timeout(20):
        good = engine.submit(make_request(0))
        first = await anext(good)
        with pytest.raises(RequestFailed, match="not finite"):
            await collect(engine.submit(failing), outputs)
        rest = [output async for output in good]
        assert engine.is_running

    assert end_of(outputs).reason is FinishReason.FAILED
    assert end_of([first, *rest]).reason is not FinishReason.FAILED


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError(CUDA_TEXT), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes."), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, is_memory):
    assert is_out_of_memory(error) == is_memory


def test_the_allocators_own_error_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)

    assert is_out_of_memory(caught.value)
    assert "\n" not in memory_needed(caught.value)
    assert str(1 << 60) in memory_needed(caught.value)


def test_a_cache_that_cannot_hold_one_sequence_is_refused_with_both_sizes():
    geometry = KvGeometry(
        page_size=16, sliding_window=None, bytes_per_page=1 << 40, max_chunk_tokens=512
    )
    config = EngineConfig(model_dir=Path("unused"), memory_fraction=0.5, max_model_len=1600)

    with pytest.raises(OutOfMemory, match=r"needs 105906176 MiB and 50% of the \d+ MiB"):
        choose_num_pages(config, geometry, torch.device("cpu"))


def test_a_pool_that_is_too_large_says_so(models, caplog):
    directory, _ = models("qwen3")
    config = EngineConfig(model_dir=directory, num_pages=1 << 40, max_model_len=64)

    with caplog.at_level(logging.ERROR), pytest.raises(OutOfMemory, match="KV cache of"):
        LLMEngine(config, special_tokens())
