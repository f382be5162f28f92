"""Think calls through a worker in front of each kind of server: tokens, budgets, books."""

import grpc
import pytest

from ponder.counts import Totals
from ponder.v1 import budget_pb2, worker_pb2
from tests.workers.conftest import MODEL, TENANT
from tests.workers.upstream.fake_server import Fault
from tests.workers.upstream.shapes import LlamaCppShape, SglangShape, VllmShape
from workers.engine import EngineRequest, ThinkingStop

NEED = len("2 and 2 are 4. So it must be 4.")


async def test_thinks_until_the_model_closes_and_then_answers(upstream, model, make_request):
    reply = await upstream.worker.think(
        make_request(thinking_budget=100, max_answer_tokens=50, include_thinking=True)
    )

    assert tuple(reply.thinking_ids) == model.thinking_ids()
    assert reply.thinking_text == model.thinking
    assert reply.answer == "It is 4."
    assert reply.done.stop == budget_pb2.THINKING_STOP_FINISHED
    assert reply.done.finish_reason == budget_pb2.FINISH_REASON_STOP
    assert reply.done.usage.forced_tokens == 0


@pytest.mark.parametrize(
    "shape",
    [
        VllmShape(num_per_event=1),
        VllmShape(num_per_event=100),
        SglangShape("stream_output"),
        SglangShape("incremental_streaming_output"),
    ],
)
async def test_however_many_tokens_come_at_once(open_upstream, model, make_request, shape):
    upstream = await open_upstream(shape)

    reply = await upstream.worker.think(make_request(thinking_budget=100, max_answer_tokens=50))

    assert tuple(reply.thinking_ids) == model.thinking_ids()
    assert reply.answer == "It is 4."


@pytest.mark.parametrize("budget", [0, 1, 7, NEED])
async def test_a_budget_is_held_to_the_token(upstream, model, make_request, budget):
    reply = await upstream.worker.think(make_request(thinking_budget=budget, max_answer_tokens=50))

    assert tuple(reply.thinking_ids) == model.thinking_ids()[:budget]
    assert reply.done.usage.thinking_tokens == budget
    assert reply.done.stop == budget_pb2.THINKING_STOP_EXHAUSTED
    assert reply.answer == "It is 4."


async def test_usage_is_what_was_sent_and_what_the_ledger_has(upstream, make_request):
    reply = await upstream.worker.think(make_request(thinking_budget=9, max_answer_tokens=50))

    usage = reply.done.usage
    assert usage.answer_tokens == reply.num_answer_tokens == len("It is 4.")
    assert usage.prompt_tokens > len("user: Reach 24 from 3, 5, 6 and 8.\n")
    assert usage.forced_tokens == 1  # </think>
    assert await upstream.worker.ledger.totals(MODEL, TENANT) == Totals.of(usage)


async def test_a_long_answer_is_cut_to_the_token(vllm, make_request):
    reply = await vllm.worker.think(make_request(thinking_budget=3, max_answer_tokens=5))

    assert (reply.answer, reply.num_answer_tokens) == ("It is", 5)
    assert reply.done.finish_reason == budget_pb2.FINISH_REASON_LENGTH


async def test_an_answer_is_never_empty(upstream, make_request):
    upstream.server.model.answers_late = True

    reply = await upstream.worker.think(make_request(thinking_budget=3, max_answer_tokens=50))

    assert reply.answer == "It is 4."
    assert reply.done.usage.answer_tokens == len("It is 4.")


async def test_characters_of_several_tokens_arrive_whole_and_are_counted(upstream, make_request):
    upstream.server.model.thinking = "so 🦜é x"
    upstream.server.model.answer = "🧿ok🧿"

    reply = await upstream.worker.think(
        make_request(thinking_budget=100, max_answer_tokens=50, include_thinking=True)
    )

    assert (reply.thinking_text, reply.answer) == ("so 🦜é x", "🧿ok🧿")
    assert reply.done.usage.thinking_tokens == len(reply.thinking_ids) == len("so 🦜é x".encode())
    assert reply.done.usage.answer_tokens == len("🧿ok🧿".encode())


async def test_a_budget_that_ends_within_a_character_is_held(upstream, make_request):
    upstream.server.model.thinking = "so 🦜é x"

    reply = await upstream.worker.think(make_request(thinking_budget=5))

    assert reply.done.usage.thinking_tokens == len(reply.thinking_ids) == 5


async def test_a_segment_resumes_from_the_ids_of_the_one_before(upstream, model, make_request):
    first = await upstream.worker.think(make_request(thinking_budget=9, answer_on_exhaustion=False))
    second = await upstream.worker.think(
        make_request(
            segment=1,
            thinking_budget=100,
            max_answer_tokens=50,
            thinking_prefix_ids=first.thinking_ids,
            settlement={"prior_usage": first.done.usage},
        )
    )

    assert first.done.finish_reason == budget_pb2.FINISH_REASON_UNSPECIFIED
    assert not first.done.settled
    assert tuple(first.thinking_ids + second.thinking_ids) == model.thinking_ids()
    assert second.done.usage.thinking_tokens == NEED
    assert second.answer == "It is 4."
    assert len(await upstream.worker.traces()) == 1


async def test_a_stream_that_breaks_goes_on_after_its_last_token(upstream, model, make_request):
    upstream.fail(Fault(after=3), Fault(after=2), None, Fault(after=2))

    reply = await upstream.worker.think(make_request(thinking_budget=100, max_answer_tokens=50))

    assert tuple(reply.thinking_ids) == model.thinking_ids()
    assert reply.done.usage.thinking_tokens == NEED
    assert (reply.answer, reply.done.usage.answer_tokens) == ("It is 4.", len("It is 4."))
    assert await upstream.worker.ledger.totals(MODEL, TENANT) == Totals.of(reply.done.usage)


async def test_a_budget_holds_over_a_break(upstream, make_request):
    upstream.fail(Fault(after=3), Fault(after=3))

    reply = await upstream.worker.think(make_request(thinking_budget=11))

    assert reply.done.usage.thinking_tokens == len(reply.thinking_ids) == 11


@pytest.mark.parametrize("garbage", ["{", '{"choices": 3}', '{"error": "the GPU is gone"}'])
async def test_an_event_that_cannot_be_read_is_asked_for_again(vllm, make_request, garbage):
    vllm.fail(Fault(after=2, garbage=garbage))

    reply = await vllm.worker.think(make_request(thinking_budget=100))

    assert reply.done.usage.thinking_tokens == len(reply.thinking_ids) == NEED


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again_when_it_said(vllm, make_request, pauses, status):
    vllm.fail(Fault(status=status, retry_after="3"), Fault(status=status))

    reply = await vllm.worker.think(make_request(thinking_budget=5))

    assert reply.done.usage.thinking_tokens == 5
    assert pauses == [3.0, 0.5]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=429), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (Fault(status=500), grpc.StatusCode.UNAVAILABLE),
        (Fault(status=404), grpc.StatusCode.UNAVAILABLE),
        (Fault(), grpc.StatusCode.UNAVAILABLE),
        (Fault(garbage="{"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_what_stays_broken_fails_and_bills_nothing(vllm, make_request, fault, expected):
    vllm.fail(*[fault] * 4)

    status, _ = await vllm.worker.refusal(make_request())

    assert status == expected
    assert await vllm.worker.traces() == []


async def test_what_the_server_refuses_is_the_callers_fault(vllm, make_request):
    vllm.fail(Fault(status=400))

    status, message = await vllm.worker.refusal(make_request())

    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert "the server says no" in message
    assert len(vllm.server.completions) == 1


async def test_a_silent_server_is_left_and_asked_again(open_upstream, make_request):
    upstream = await open_upstream(VllmShape(), upstream_timeout_s="0.1")
    upstream.fail(Fault(after=2, hangs=True))

    reply = await upstream.worker.think(make_request(thinking_budget=100))

    assert reply.done.usage.thinking_tokens == NEED


async def test_a_cancelled_call_is_closed_at_the_server_and_settled(upstream, make_request):
    upstream.fail(Fault(after=5, hangs=True))
    call = upstream.worker.stub.Think(make_request(thinking_budget=100), timeout=60)
    await upstream.server.hanging.wait()
    await call.read()

    call.cancel()
    await upstream.server.left.wait()
    await upstream.worker.parts.segments.wait_until_idle()

    [trace] = await upstream.worker.traces()
    assert trace.stop == budget_pb2.THINKING_STOP_CANCELLED
    assert 4 <= trace.usage.thinking_tokens <= 10
    assert upstream.worker.parts.engine.load().running == 0


async def test_a_deadline_ends_a_call_that_the_server_keeps_waiting(open_upstream, make_request):
    upstream = await open_upstream(LlamaCppShape())
    upstream.fail(Fault(after=5, hangs=True))

    call = upstream.worker.stub.Think(make_request(thinking_budget=100), timeout=0.3)
    await upstream.server.left.wait()
    await upstream.worker.parts.segments.wait_until_idle()
    call.cancel()

    [trace] = await upstream.worker.traces()
    assert trace.stop == budget_pb2.THINKING_STOP_EXHAUSTED


async def test_a_closed_thinking_is_answered_though_the_server_is_silent(open_upstream):
    upstream = await open_upstream(VllmShape(num_per_event=1))
    upstream.fail(Fault(after=5, hangs=True))
    engine = upstream.worker.parts.engine
    request = EngineRequest(
        request_id="r", prompt_ids=(4, 2), thinking_budget=20, max_answer_tokens=50
    )

    outputs = []
    async for output in engine.submit(request):
        engine.close_thinking("r")
        outputs.append(output)

    finished = outputs[-1].finished
    assert finished.stop is ThinkingStop.EXHAUSTED
    assert 4 <= finished.usage.thinking_tokens <= 5
    assert "".join(output.answer_text for output in outputs) == "It is 4."


async def test_more_than_the_server_runs_at_once_waits_here(open_upstream, make_request):
    upstream = await open_upstream(LlamaCppShape())
    upstream.fail(*[Fault(after=1, hangs=True)] * 2)
    stub = upstream.worker.stub
    calls = [stub.Think(make_request(request_id=f"r{i}"), timeout=60) for i in range(3)]

    load = await upstream.worker.load_when(lambda load: load.running + load.waiting == 3)
    for call in calls:
        call.cancel()

    assert (load.running, load.waiting, load.max_running) == (2, 1, 2)


async def test_a_prompt_with_a_special_token_is_refused(upstream, make_request):
    status, message = await upstream.worker.refusal(make_request(prompt="done</think>42"))

    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert "remove it" in message


async def test_a_prompt_that_does_not_fit_is_refused_before_the_server_sees_it(vllm, make_request):
    status, message = await vllm.worker.refusal(make_request(prompt="x" * 5000))

    assert status == grpc.StatusCode.INVALID_ARGUMENT
    assert "the upstream takes" in message
    assert vllm.server.completions == []


async def test_sampling_is_passed_on(open_upstream, make_request):
    upstream = await open_upstream(VllmShape())

    await upstream.worker.think(
        make_request(sampling=budget_pb2.Sampling(temperature=0.5, top_p=0.25, seed=7))
    )

    thinking, answer = upstream.server.completions
    assert (thinking["temperature"], thinking["top_p"]) == (0.5, 0.25)
    assert thinking["seed"] != answer["seed"]


async def test_markers_of_several_tokens_are_fed_and_never_looked_for(open_upstream, make_request):
    upstream = await open_upstream(
        LlamaCppShape(), upstream_think_close="</think>So: ", max_thinking_budget="3000"
    )

    reply = await upstream.worker.think(make_request(thinking_budget=4))

    assert reply.done.usage.forced_tokens == 1 + len("So: ")
    assert reply.done.usage.thinking_tokens == 4


async def test_the_load_tells_speed_and_room(vllm, make_request):
    await vllm.worker.think(make_request())

    load = await vllm.worker.load_when(lambda load: load.tokens_per_second > 0)

    assert load.time_to_first_token_ms > 0
    assert load.time_per_output_token_ms > 0
    assert isinstance(load, worker_pb2.Load)
