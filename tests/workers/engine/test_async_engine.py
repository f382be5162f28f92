import asyncio

import pytest

from workers.engine import (
    EngineStopped,
    FinishReason,
    InvalidRequest,
    ThinkingStop,
    ThreadEngine,
)

DEADLINE_S = 20


@pytest.fixture
async def engine(make_engine):
    async with ThreadEngine(make_engine(num_pages=800, max_model_len=2000)) as engine:
        yield engine


async def collect(engine, request):
    return [output async for output in engine.submit(request)]


async def test_requests_get_the_tokens_of_the_synchronous_engine(
    engine, make_engine, make_request, run
):
    requests = [make_request(index) for index in range(5)]

    async with asyncio.timeout(DEADLINE_S):
        streams = await asyncio.gather(*(collect(engine, request) for request in requests))

    expected = run(make_engine(), *requests)
    for request, outputs in zip(requests, streams, strict=True):
        thinking, answer, *_ = expected[request.request_id]
        assert [token for output in outputs for token in output.thinking_ids] == thinking
        assert [token for output in outputs for token in output.answer_ids] == answer


async def test_a_bad_request_fails_alone(engine, make_request):
    async with asyncio.timeout(DEADLINE_S):
        good = asyncio.create_task(collect(engine, make_request(0)))
        with pytest.raises(InvalidRequest, match="max_answer_tokens"):
            await collect(engine, make_request(1, max_answer_tokens=0))
        outputs = await good

    assert outputs[-1].finished is not None


async def test_a_request_id_in_use_is_refused(engine, make_request):
    stream = engine.submit(make_request(10, thinking_budget=1000, thinking_prefix_ids=[9]))
    await anext(stream)

    with pytest.raises(InvalidRequest, match="request_id"):
        await anext(engine.submit(make_request(10)))
    await stream.aclose()


async def test_a_closed_thinking_is_answered(engine, make_request):
    stream = engine.submit(make_request(10, thinking_budget=1500))
    await anext(stream)

    engine.close_thinking("r10")
    async with asyncio.timeout(DEADLINE_S):
        outputs = [output async for output in stream]

    finished = outputs[-1].finished
    assert finished.stop is ThinkingStop.EXHAUSTED
    assert finished.reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert finished.usage.thinking_tokens < 1500
    assert any(output.answer_ids for output in outputs)


async def test_abort_ends_the_stream_with_what_was_spent(engine, make_request):
    stream = engine.submit(make_request(10, thinking_budget=1500))
    await anext(stream)

    engine.abort("r10")
    async with asyncio.timeout(DEADLINE_S):
        last = [output async for output in stream][-1]

    assert last.finished.reason is FinishReason.CANCELLED
    assert last.finished.usage.thinking_tokens > 0


async def test_a_reader_that_leaves_frees_the_pages(engine, make_request):
    stream = engine.submit(make_request(10, thinking_budget=1500))
    await anext(stream)
    assert engine.load().pages_free < engine.load().pages_total

    await stream.aclose()
    await collect(engine, make_request(1))  # runs after the abort

    assert engine.load().pages_free == engine.load().pages_total
    assert engine.load().finished == 2


async def test_close_fails_what_still_runs(make_engine, make_request):
    engine = ThreadEngine(make_engine(num_pages=800, max_model_len=2000))
    engine.start()
    stream = engine.submit(make_request(10, thinking_budget=1500))
    await anext(stream)

    await engine.close()

    with pytest.raises(EngineStopped, match="closed"):
        async for _ in stream:
            pass
    assert engine.failure is None
    assert not engine.is_running
    with pytest.raises(EngineStopped):
        await anext(engine.submit(make_request(1)))


async def test_a_fault_in_the_loop_reaches_every_request(make_engine, make_request, monkeypatch):
    inner = make_engine()
    fault = RuntimeError("device lost")

    def fail(plan):
        raise fault

    monkeypatch.setattr(inner.runner, "run", fail)
    async with ThreadEngine(inner) as engine, asyncio.timeout(DEADLINE_S):
        results = await asyncio.gather(
            *(collect(engine, make_request(index)) for index in range(3)), return_exceptions=True
        )

    assert all(isinstance(result, EngineStopped) for result in results)
    assert engine.failure is fault
    assert not engine.is_running
