"""One Think call against a real worker: budgets, text, usage."""

import pytest

from ponder.v1 import budget_pb2
from workers.engine import EngineOutput
from workers.segment import Segment


def output(thinking_ids: tuple[int, ...] = (), answer_ids: tuple[int, ...] = ()) -> EngineOutput:
    return EngineOutput(
        request_id="by-hand",
        thinking_ids=thinking_ids,
        answer_ids=answer_ids,
        logprobs=tuple(0.0 for _ in answer_ids),
        finished=None,
    )


@pytest.mark.parametrize("budget", [0, 1, 2, 17, 130])
async def test_thinks_exactly_its_budget_and_then_answers(worker, make_request, budget):
    reply = await worker.think(make_request(thinking_budget=budget))

    assert len(reply.thinking_ids) == reply.done.usage.thinking_tokens == budget
    assert reply.done.stop == budget_pb2.THINKING_STOP_EXHAUSTED
    assert reply.done.finish_reason == budget_pb2.FINISH_REASON_LENGTH
    assert reply.num_answer_tokens == reply.done.usage.answer_tokens == 8


async def test_usage_counts_prompt_and_forced_tokens(worker, make_request):
    reply = await worker.think(make_request(prompt="abc"))

    usage = reply.done.usage
    assert usage.prompt_tokens == len("<user: abc\n<")  # one token per byte or marker
    assert usage.forced_tokens == len("So:") + 1
    assert usage.gpu_seconds > 0
    assert usage.peak_kv_bytes > 0


async def test_stops_where_the_model_closes_its_thinking(worker, make_request):
    hot = budget_pb2.Sampling(temperature=50.0, seed=(1 << 64) - 1)

    reply = await worker.think(make_request(thinking_budget=2500, sampling=hot))

    assert reply.done.stop == budget_pb2.THINKING_STOP_FINISHED
    assert len(reply.thinking_ids) == reply.done.usage.thinking_tokens < 2500


async def test_thinking_text_is_sent_only_when_asked_for(worker, make_request):
    silent = await worker.think(make_request(request_id="silent"))
    shown = await worker.think(make_request(request_id="shown", include_thinking=True))

    assert silent.thinking_text == ""
    assert shown.thinking_text
    assert shown.thinking_ids == silent.thinking_ids


async def test_a_prompt_and_the_same_as_a_user_message_give_the_same_tokens(worker, make_request):
    message = budget_pb2.ChatMessage(role="user", content="What is 2 + 2?")

    prompt = await worker.think(make_request(request_id="p", prompt=message.content))
    chat = await worker.think(make_request(request_id="m", messages=[message]))

    assert prompt.thinking_ids == chat.thinking_ids
    assert prompt.answer == chat.answer


async def test_streams_thinking_in_chunks_before_the_answer(worker, make_request):
    kinds = [
        event.WhichOneof("event")
        async for event in worker.stub.Think(make_request(thinking_budget=64), timeout=60)
    ]

    assert kinds == sorted(kinds, key=["thinking", "answer", "done"].index)
    assert kinds.count("thinking") >= 2
    assert kinds.count("done") == 1


async def test_an_answer_does_not_overtake_thinking_that_came_while_a_chunk_was_sent(
    worker, make_request
):
    segment = Segment(make_request(), "by-hand", worker.parts.segments._workshop)
    events = segment.events()
    segment._take(output(thinking_ids=(10,)))
    await anext(events)

    segment._take(output(thinking_ids=(11,)))
    segment._take(output(answer_ids=(12,)))
    sent = [await anext(events), await anext(events)]
    # The generator is left open: the segment has no end.

    assert [event.WhichOneof("event") for event in sent] == ["thinking", "answer"]


async def test_times_are_reported(worker, make_request):
    reply = await worker.think(make_request())

    assert 0 <= reply.done.queue_ms <= reply.done.first_token_ms
    assert reply.done.first_token_ms > 0
