"""Device-resident rows, one step ahead, give the tokens of the plain runner.

Here the device is a stream that runs everything as late as it may, a graph is its captured
function and the kernels are torch's. The CUDA stream, real graphs and the compiled kernels are
in test_gpu.py.
"""

from dataclasses import replace

import pytest
import torch

from tests.workers.engine.conftest import CLOSE, OPEN
from tests.workers.engine.deferred_stream import DeferredStream
from workers.engine import EngineConfig, LLMEngine, SpecialTokens, row_runner
from workers.engine.build_runner import pipeline_runner
from workers.engine.kernels.reference import TorchKernels

SAMPLED = {"temperature": 0.8, "top_p": 0.9}
MODES = pytest.mark.parametrize("sampling", [{}, SAMPLED], ids=["greedy", "sampled"])


class CapturedFunction:
    def __init__(self, work):
        self.replay = work
        work()


def pipeline(engine, kernels_class=TorchKernels, buckets=(1, 2, 4, 8)):
    """Put the engine's model on a pipelined runner with a stream that defers."""
    eager, sampler = engine.runner, engine.runner.sampler
    decoder = eager.decoder
    kernels = kernels_class(decoder.spec, decoder.rotary, sampler)
    stream = DeferredStream()
    engine.runner = pipeline_runner(eager, eager.cache, sampler, kernels, stream, list(buckets))
    engine.runner.rows.capture(CapturedFunction)
    return engine


@pytest.fixture
def make_pipelined(make_engine):
    def make(variant="qwen3-sliding", *, buckets=(1, 2, 4, 8), **overrides):
        return pipeline(make_engine(variant, **overrides), buckets=buckets)

    return make


@pytest.fixture
def assert_same(make_engine, run):
    """Requests give the same on a plain engine as on the given one."""

    def check(pipelined, requests, variant="qwen3-sliding"):
        expected = run(make_engine(variant), *requests)
        actual = run(pipelined, *requests)
        for name, (thinking, answer, logprobs, finished) in expected.items():
            assert actual[name][:2] == (thinking, answer)
            assert actual[name][2] == pytest.approx(logprobs, abs=1e-4)
            assert (actual[name][3].stop, actual[name][3].reason) == (
                finished.stop,
                finished.reason,
            )

    return check


@MODES
@pytest.mark.parametrize("variant", ["qwen3", "qwen3-sliding", "qwen2-half-sliding"])
def test_one_step_ahead_changes_no_token(
    make_pipelined, make_request, assert_same, variant, sampling
):
    pipelined = make_pipelined(variant)

    assert_same(pipelined, [make_request(i, **sampling) for i in range(6)], variant)

    runner = pipelined.runner
    assert runner.num_rows_ahead > 20 * runner.num_rows_late


@pytest.mark.parametrize("variant", ["llama-rope3-bias", "qwen2-ratio7"])
def test_every_family_decodes_alike(make_pipelined, make_request, assert_same, variant):
    assert_same(make_pipelined(variant), [make_request(i) for i in range(2)], variant)


@MODES
@pytest.mark.parametrize("reserves", [True, False])
@pytest.mark.parametrize("chunk", [3, 24])
def test_preemption_changes_no_token(
    make_pipelined, make_request, assert_same, sampling, reserves, chunk
):
    """Rows come back to the same slot and length, with other pages."""
    requests = [make_request(i, prompt_ids=[1, 10 + i, OPEN], **sampling) for i in range(6)]
    pipelined = make_pipelined(num_pages=14, watermark=0.0, prefill_chunk_tokens=chunk)
    if not reserves:
        pipelined.scheduler.reserve_next = lambda plan: None

    assert_same(pipelined, requests)

    assert pipelined.scheduler.num_preemptions > 0


@MODES
def test_a_branch_is_as_sure_as_on_the_plain_runner(
    make_engine, make_pipelined, make_request, sampling
):
    def fork(engine):
        engine.add_request(make_request(5, thinking_budget=60, **sampling))
        for _ in range(7):
            engine.step()
        branch = engine.fork("r5", (CLOSE,), 6)
        for _ in range(8):
            engine.step()
        return branch

    plain, pipelined = fork(make_engine("qwen3")), fork(make_pipelined("qwen3"))

    assert len(plain.sampled_entropies) == 6
    assert pipelined.answer_ids == plain.answer_ids
    assert pipelined.sampled_entropies == pytest.approx(plain.sampled_entropies, abs=1e-4)
    assert pipelined.sampled_logprobs == pytest.approx(plain.sampled_logprobs, abs=1e-4)


@pytest.mark.parametrize("chunk", [1, 3])
def test_the_chunk_size_changes_no_token(make_pipelined, make_request, assert_same, chunk):
    requests = [make_request(i, **SAMPLED) for i in range(4)]

    assert_same(make_pipelined(prefill_chunk_tokens=chunk), requests)


@pytest.mark.parametrize("buckets", [(8,), (1, 2), ()])
def test_padding_and_the_eager_fallback_change_no_token(
    make_pipelined, make_request, assert_same, buckets
):
    assert_same(make_pipelined(buckets=buckets), [make_request(i) for i in range(3)])


def test_without_a_page_for_it_no_step_runs_ahead(make_pipelined, make_request, assert_same):
    pipelined = make_pipelined(page_size=1)
    pipelined.scheduler.reserve_next = lambda plan: None

    assert_same(pipelined, [make_request(i) for i in range(2)])

    assert pipelined.runner.num_rows_ahead == 0


def test_a_row_whose_packet_is_too_small_is_sent_in_several(
    make_pipelined, make_request, assert_same, monkeypatch
):
    monkeypatch.setattr(row_runner, "UPDATE_CAPACITY", 8)
    long_prompt = [1, *(10 + i % 80 for i in range(150)), OPEN]

    assert_same(make_pipelined(), [make_request(0), make_request(1, prompt_ids=long_prompt)])


def test_no_step_runs_past_the_longest_sequence(make_pipelined, make_request, run):
    request = make_request(0, prompt_opens_thinking=False, prompt_ids=[1, 11, 12, 13, 14, 15])
    most = len(request.prompt_ids) + 1 + 24 + 3 + 8
    pipelined = make_pipelined(max_model_len=most)

    _, answer, _, _ = run(pipelined, request)["r0"]

    assert most % 4
    assert len(answer) == 8


def test_an_aborted_request_changes_no_token_of_the_others(make_pipelined, make_request, run):
    """Its pages go to requests whose prefill is enqueued behind the step that ran ahead."""
    requests = [make_request(i, **SAMPLED) for i in range(6)]
    alone = {i: run(make_pipelined(), requests[i])[f"r{i}"][:2] for i in (1, 3, 4, 5)}
    pipelined = make_pipelined(num_pages=40)
    thinking: dict[str, list[int]] = {request.request_id: [] for request in requests}
    answers: dict[str, list[int]] = {request.request_id: [] for request in requests}
    for request in requests:
        pipelined.add_request(request)

    for step in range(10_000):
        if step == 7:
            pipelined.abort("r0")
            pipelined.abort("r2")
        for output in pipelined.step():
            thinking[output.request_id].extend(output.thinking_ids)
            answers[output.request_id].extend(output.answer_ids)
        pipelined.scheduler.check()
        if not pipelined.has_work:
            break

    assert {i: (thinking[f"r{i}"], answers[f"r{i}"]) for i in alone} == alone


def test_a_forced_token_replaces_the_one_on_the_device(models, make_request, run):
    """An end of sequence while thinking: the host feeds </think> in its place."""
    tokens = SpecialTokens(
        eos_ids=frozenset(range(20, 60)), think_open_id=OPEN, think_close_id=CLOSE
    )
    config = EngineConfig(model_dir=models("qwen3")[0], page_size=4, num_pages=400, max_running=8)
    requests = [make_request(i, temperature=1.0) for i in range(6)]

    expected = run(LLMEngine(config, tokens), *requests)
    pipelined = pipeline(LLMEngine(config, tokens))
    actual = run(pipelined, *requests)

    assert any(result[3].usage.forced_tokens == 1 for result in expected.values())
    assert {k: v[:2] for k, v in actual.items()} == {k: v[:2] for k, v in expected.items()}


@pytest.mark.parametrize("changed", ["last_token", "ban", "position", "slot", None])
def test_a_step_ahead_is_taken_only_for_the_inputs_it_had(make_pipelined, make_request, changed):
    pipelined = make_pipelined()
    pipelined.add_request(make_request(0))
    for _ in range(4):
        pipelined.step()
    runner, plan = pipelined.runner, pipelined.scheduler.plan(0.0)
    late = runner.num_rows_late

    if changed == "slot":
        plan.sampled_slots[0] = 5
    elif changed is not None:
        getattr(runner.slots, changed)[plan.decode_slots] += 1
    runner.run(plan)

    assert runner.num_rows_late - late == (changed is not None)


def test_padding_stays_empty(make_pipelined, make_request, run):
    pipelined = make_pipelined(buckets=(8,))

    run(pipelined, make_request(0))

    table = pipelined.runner.rows.table
    assert table.num_tokens[table.dummy_slot] == 0
    assert not table.page_table[table.dummy_slot].any()


def test_the_host_waits_for_a_step_only_when_the_next_is_launched(make_pipelined, make_request):
    pipelined = make_pipelined()
    pipelined.add_request(make_request(0))
    pipelined.step()

    pipelined.step()

    assert pipelined.runner.stream.num_waiting > 0


def laid_out_as_on_cuda(weights):
    layers = [
        replace(
            layer,
            **{
                name: getattr(layer, name).contiguous()
                for name in ("qkv", "output", "gate_up", "down")
            },
        )
        for layer in weights.layers
    ]
    return replace(weights, layers=layers, head=weights.head.contiguous())


def test_the_interpreted_kernels_decode_the_same_tokens(make_engine, make_request, run):
    """The whole step through Triton's interpreter; compiled kernels are in test_gpu.py."""
    fused = pytest.importorskip("workers.engine.kernels.fused")
    attention = pytest.importorskip("workers.engine.kernels.decode_attention")
    if torch.cuda.is_available():
        pytest.skip("the kernels are compiled here, not interpreted")

    def kernels(spec, rotary, sampler):
        split = attention.DecodeAttention(spec, 8, 4, torch.device("cpu"))
        return fused.FusedKernels(spec, rotary, sampler, split, 4)

    requests = [make_request(i, thinking_budget=3, max_answer_tokens=3) for i in range(2)]
    expected = run(make_engine("qwen3"), *requests)

    engine = make_engine("qwen3")
    engine.runner.decoder.weights = laid_out_as_on_cuda(engine.runner.decoder.weights)
    actual = run(pipeline(engine, kernels, buckets=(1, 2)), *requests)

    assert {k: v[:2] for k, v in actual.items()} == {k: v[:2] for k, v in expected.items()}
