"""A stream: the decision first, the answer in pieces, the usage last, errors where they fall."""

import openai
import pytest
from grpc import StatusCode


async def chunks_of(door, **fields):
    return [chunk async for chunk in await door.complete(stream=True, **fields)]


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def test_the_pieces_are_the_answer_of_the_unary_call(start_door):
    async with start_door() as door:
        chunks = await chunks_of(door, seed=3)
        whole = await door.complete(seed=3)

    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks][-1] == "stop"
    assert len({c.id for c in chunks}) == 1
    assert len([c for c in chunks if c.choices[0].delta.content]) > 1


async def test_usage_comes_last_when_asked_for_and_is_the_ledgers(start_door):
    async with start_door() as door:
        chunks = await chunks_of(door, stream_options={"include_usage": True})
        (trace,) = await door.stack.traces_when(1)

    *before, last = chunks
    assert all(chunk.usage is None for chunk in before)
    assert last.choices == []
    assert last.usage.completion_tokens_details.reasoning_tokens == trace.usage.thinking_tokens
    assert last.usage.completion_tokens == trace.usage.thinking_tokens + trace.usage.answer_tokens


async def test_without_include_usage_there_is_none(start_door):
    async with start_door() as door:
        chunks = await chunks_of(door)

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


async def test_decisions_are_told_as_they_are_taken(start_door):
    async with start_door() as door:
        for worker in (door.stack.easy, door.stack.thinking):
            worker.script.need = lambda request: 900
        chunks = await chunks_of(door)

    told = [chunk.ponder for chunk in chunks if getattr(chunk, "ponder", None)]
    assert [each["decision"]["tier"] for each in told] == ["moderate", "complex", "complex"]
    assert told[-1]["thinking_stop"] == "finished"


async def test_a_repeated_key_streams_the_kept_answer(start_door):
    async with start_door() as door:
        headers = {"Idempotency-Key": "q-1"}
        first = await chunks_of(door, seed=1, extra_headers=headers)
        second = await chunks_of(door, seed=1, extra_headers=headers)

        assert len(door.stack.easy.requests) == 1

    assert text_of(first) == text_of(second) != ""


async def test_what_fails_before_a_worker_takes_it_is_a_status(start_door):
    async with start_door() as door:
        for worker in (door.stack.easy, door.stack.thinking):
            worker.script.refuse = StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(openai.RateLimitError) as caught:
            await chunks_of(door)

    assert caught.value.response.headers["retry-after"] == "2"


async def test_what_fails_halfway_is_an_error_in_the_stream(start_door):
    async with start_door(max_failovers=0) as door:
        door.stack.easy.script.die_at = 32
        with pytest.raises(openai.APIError, match="workers were lost"):
            await chunks_of(door)
