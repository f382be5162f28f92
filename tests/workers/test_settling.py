"""What a worker leaves in the ledger: once, what was spent, whatever happened to the call."""

import grpc
from redis.asyncio import Redis

from ponder import keys
from ponder.counts import Totals
from ponder.v1 import budget_pb2
from tests.workers.conftest import MODEL, TENANT
from workers.pulse import Pulse
from workers.segment import Cut


async def test_the_ledger_holds_what_the_reply_said(worker, make_request):
    reply = await worker.think(make_request())

    assert reply.done.settled
    [trace] = await worker.traces()
    assert trace.usage == reply.done.usage
    assert await worker.ledger.settled_usage(MODEL, TENANT, "request-1") == reply.done.usage
    assert await worker.ledger.totals(MODEL, TENANT) == Totals.of(reply.done.usage)


async def test_a_trace_says_where_the_request_came_from(worker, make_request):
    reply = await worker.think(make_request())

    [trace] = await worker.traces()
    assert (trace.tenant, trace.model, trace.worker) == (TENANT, MODEL, "worker-1")
    assert (trace.budget_tokens, trace.stop) == (20, budget_pb2.THINKING_STOP_EXHAUSTED)
    assert (trace.predicted_bin, trace.features) == (2, (3, 5))
    assert trace.first_token_ms == reply.done.first_token_ms
    assert trace.prompt is None


async def test_a_trace_keeps_the_prompt_when_told_to(worker, make_request):
    await worker.think(make_request(prompt="a question", settlement={"store_prompt": True}))

    [trace] = await worker.traces()
    assert trace.prompt == "a question"


async def test_the_same_request_is_settled_once_with_the_first_usage(worker, make_request):
    first = await worker.think(make_request(thinking_budget=10))
    second = await worker.think(make_request(thinking_budget=30))

    assert second.done.settled
    assert second.done.usage == first.done.usage
    assert (await worker.ledger.totals(MODEL, TENANT)).requests == 1


async def test_resumed_segments_give_the_tokens_of_one_and_settle_once(worker, make_request):
    whole = await worker.think(make_request(request_id="whole", thinking_budget=50))

    first = await worker.think(make_request(thinking_budget=20, answer_on_exhaustion=False))
    assert not first.done.settled
    assert first.done.finish_reason == budget_pb2.FINISH_REASON_UNSPECIFIED
    assert await worker.ledger.settled_usage(MODEL, TENANT, "request-1") is None
    second = await worker.think(
        make_request(
            segment=1,
            thinking_budget=50,
            thinking_prefix_ids=first.thinking_ids,
            settlement={"prior_usage": first.done.usage},
        )
    )

    assert first.thinking_ids + second.thinking_ids == whole.thinking_ids
    assert second.answer == whole.answer
    assert second.done.usage.thinking_tokens == 50
    assert second.done.usage.prompt_tokens == whole.done.usage.prompt_tokens
    assert second.done.usage.gpu_seconds > first.done.usage.gpu_seconds
    assert [t.usage for t in await worker.traces()] == [whole.done.usage, second.done.usage]


async def test_a_cancelled_request_frees_its_pages_and_settles_what_it_spent(worker, make_request):
    call = worker.stub.Think(make_request(thinking_budget=3000))
    seen = await call.read()
    call.cancel()
    await worker.parts.segments.wait_until_idle()

    load = worker.parts.engine.load()
    assert (load.running, load.pages_free) == (0, load.pages_total)
    [trace] = await worker.traces()
    assert trace.stop == budget_pb2.THINKING_STOP_CANCELLED
    assert trace.finish_reason == budget_pb2.FINISH_REASON_CANCELLED
    assert len(seen.thinking.ids) <= trace.usage.thinking_tokens < 3000
    assert trace.usage.gpu_seconds > 0


async def test_a_deadline_ends_and_settles_a_request(worker, make_request):
    segment = worker.parts.segments.start(make_request(thinking_budget=3000), remaining_s=None)
    events = [await anext(segment.events())]

    segment.cut(Cut.DEADLINE)
    events += [event async for event in segment.events()]

    [trace] = await worker.traces()
    assert trace.finish_reason == budget_pb2.FINISH_REASON_DEADLINE
    assert trace.stop == budget_pb2.THINKING_STOP_EXHAUSTED
    assert events[-1].done.usage == trace.usage
    assert worker.parts.engine.load().running == 0


async def test_a_deadline_that_comes_near_closes_the_thinking_and_leaves_an_answer(
    worker, make_request, monkeypatch
):
    # The whole time is the answer's, so that no clock decides when to close.
    monkeypatch.setattr("workers.segment._ANSWER_RESERVE_S", 1000.0)
    request = make_request(thinking_budget=3000, answer_on_exhaustion=False)
    segment = worker.parts.segments.start(request, remaining_s=1000.0)

    events = [event async for event in segment.events()]

    done = events[-1].done
    assert done.stop == budget_pb2.THINKING_STOP_EXHAUSTED
    assert done.finish_reason in (budget_pb2.FINISH_REASON_STOP, budget_pb2.FINISH_REASON_LENGTH)
    assert done.usage.thinking_tokens < 3000
    assert "".join(event.answer.text for event in events)
    [trace] = await worker.traces()
    assert trace.usage == done.usage


async def test_a_call_cancelled_while_it_waits_settles_earlier_segments(start_worker, make_request):
    worker = await start_worker(max_running=1, preemption_grace_s=60)
    running = worker.stub.Think(make_request(request_id="first", thinking_budget=3000))
    await running.read()
    prior = budget_pb2.Usage(prompt_tokens=9, forced_tokens=2, gpu_seconds=1.5)
    waiting = worker.stub.Think(
        make_request(
            request_id="second",
            prompt="abc",
            thinking_prefix_ids=[40, 41],
            settlement={"prior_usage": prior},
        )
    )
    await waiting.initial_metadata()

    await worker.load_when(lambda load: load.waiting == 1)
    waiting.cancel()
    await worker.load_when(lambda load: load.waiting == 0)
    running.cancel()
    await worker.parts.segments.wait_until_idle()

    [usage] = [t.usage for t in await worker.traces() if t.request_id == "second"]
    assert (usage.prompt_tokens, usage.thinking_tokens, usage.forced_tokens) == (12, 2, 2)
    assert usage.gpu_seconds == 1.5


async def test_an_open_end_that_nobody_received_settles_as_cancelled(worker, make_request):
    request = make_request(thinking_budget=5, answer_on_exhaustion=False)
    segment = worker.parts.segments.start(request, remaining_s=None)
    events = [event async for event in segment.events()]

    segment.end_call(Cut.CALLER)
    await worker.parts.segments.wait_until_idle()

    assert not events[-1].done.finish_reason
    [trace] = await worker.traces()
    assert trace.finish_reason == budget_pb2.FINISH_REASON_CANCELLED
    assert (trace.stop, trace.usage.thinking_tokens) == (budget_pb2.THINKING_STOP_EXHAUSTED, 5)


async def test_a_call_that_ends_after_a_standstill_is_left_for_another_to_settle(
    start_worker, make_request, monkeypatch
):
    """Its router gave it up and resumed it elsewhere. Settled here first, with less, it once stood
    in the ledger too small.
    """

    class Woken(Pulse):
        def has_just_woken(self) -> bool:
            return True

    monkeypatch.setattr("workers.process.Pulse", Woken)
    worker = await start_worker()
    call = worker.stub.Think(make_request(thinking_budget=3000))
    await call.read()
    call.cancel()
    await worker.load_when(lambda load: load.running == 0)
    await worker.parts.segments.wait_until_idle()

    assert await worker.traces() == []


async def test_calls_given_up_by_the_worker_are_left_for_another_to_settle(
    start_worker, make_request
):
    worker = await start_worker(grace_s=0)
    call = worker.stub.Think(make_request(thinking_budget=3000))
    await call.read()

    await worker.parts.server.drain()
    await worker.parts.segments.wait_until_idle()

    code, _ = await worker.status_of(call)
    assert code == grpc.StatusCode.UNAVAILABLE
    assert await worker.traces() == []
    assert worker.parts.engine.load().running == 0


async def test_traces_are_kept_as_long_as_it_says(start_worker, make_request, redis_url):
    worker = await start_worker(trace_life_s=3_600)
    await worker.think(make_request())

    client = Redis.from_url(redis_url)
    assert 0 < await client.ttl(keys.traces(MODEL)) <= 3_600
    await client.aclose()
