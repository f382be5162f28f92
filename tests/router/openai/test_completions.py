"""The official client gets what the router says: answer, usage, decision."""

import pytest

from ponder.v1.budget_pb2 import (
    TIER_COMPLEX,
    TIER_MODERATE,
    TIER_RESEARCH,
    TIER_SIMPLE,
    Sampling,
    Tier,
)
from tests.router.openai.conftest import QUESTION
from tests.router.small_worker import MODEL

EFFORTS = {
    "minimal": TIER_SIMPLE,
    "low": TIER_MODERATE,
    "medium": TIER_COMPLEX,
    "high": TIER_RESEARCH,
    "xhigh": TIER_RESEARCH,
    "max": TIER_RESEARCH,
}


async def test_answer_and_usage_are_those_of_the_grpc_reply(start_door):
    async with start_door() as door:
        completion = await door.complete(seed=5)
        messages = [{"role": "user", "content": "What is 2 + 2?"}]
        reply = await door.stack.reason(messages=messages, sampling=Sampling(seed=5))

    usage = completion.usage
    assert completion.choices[0].message.content == reply.answer
    assert completion.choices[0].finish_reason == "stop"
    assert usage.completion_tokens_details.reasoning_tokens == reply.usage.thinking_tokens == 40
    assert usage.completion_tokens == reply.usage.thinking_tokens + reply.usage.answer_tokens
    assert usage.prompt_tokens == reply.usage.prompt_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_routers_spans_belong_to_the_trace_of_the_http_request(start_door, stream):
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "congo=t61rcWkgMzE"}
    async with start_door() as door:
        # With a limit the plan is asked for first.
        reply = await door.complete(stream=stream, max_completion_tokens=900, extra_headers=headers)
        if stream:
            assert [chunk async for chunk in reply]
        spans = door.stack.spans.get_finished_spans()

    requests = [span for span in spans if span.name == "request"]
    assert len(requests) == 2
    for span in requests:
        assert (span.parent.trace_id, span.parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
        assert span.context.trace_state.to_header() == "congo=t61rcWkgMzE"


@pytest.mark.parametrize("header", ["nonsense", f"00-{TRACE}-{SPAN}-01" + "x" * 600])
async def test_a_traceparent_that_is_none_is_no_reason_to_fail(start_door, header):
    async with start_door() as door:
        completion = await door.complete(extra_headers={"traceparent": header})

    assert completion.choices[0].message.content


async def test_usage_is_what_the_ledger_has_and_forced_tokens_are_not_in_it(start_door):
    async with start_door() as door:
        completion = await door.complete(reasoning_effort="none")
        (trace,) = await door.stack.traces_when(1)

    assert trace.usage.forced_tokens == completion.ponder["forced_tokens"] == 1
    assert completion.usage.completion_tokens == trace.usage.answer_tokens
    assert completion.usage.completion_tokens_details.reasoning_tokens == 0
    assert completion.id == f"chatcmpl-{trace.request_id}"


async def test_usage_after_an_escalation_is_that_of_all_segments(start_door):
    async with start_door() as door:
        for worker in (door.stack.easy, door.stack.thinking):
            worker.script.need = lambda request: 900
        completion = await door.complete()

    assert completion.usage.completion_tokens_details.reasoning_tokens == 900
    assert completion.ponder["escalations"] == 1
    assert completion.ponder["decision"]["tier"] == "complex"


async def test_the_decision_is_told(start_door, classifier_path):
    # Counts that were read between the two would move the second prediction.
    async with start_door(classifier=str(classifier_path), refresh_interval_s=3600.0) as door:
        planned = await door.stack.plan(messages=QUESTION)
        completion = await door.complete()

    decision = completion.ponder["decision"]
    assert decision["tier"] == Tier.Name(planned.tier).removeprefix("TIER_").lower()
    assert decision["budget_tokens"] == planned.budget_tokens
    assert decision["need_tokens"]["p90"] == planned.need.p90_tokens
    assert (decision["rule"], decision["clamps"]) == ("automatic", [])
    assert completion.model == MODEL


async def test_a_clamp_is_told(start_door):
    async with start_door(max_tier="simple") as door:
        completion = await door.complete()

    assert completion.ponder["decision"]["clamps"] == ["entitlement"]


@pytest.mark.parametrize(("effort", "tier"), EFFORTS.items(), ids=EFFORTS.keys())
async def test_an_effort_is_a_tier(start_door, effort, tier):
    async with start_door() as door:
        completion = await door.complete(reasoning_effort=effort)
        asked = [*door.stack.easy.requests, *door.stack.thinking.requests]

    assert [request.settlement.tier for request in asked] == [tier]
    assert completion.ponder["decision"]["rule"] == "explicit_tier"


async def test_no_effort_is_automatic_and_none_is_no_thinking(start_door):
    async with start_door() as door:
        automatic = await door.complete()
        none = await door.complete(reasoning_effort="none")

    assert automatic.ponder["decision"]["rule"] == "degraded_default"
    assert none.ponder["decision"]["budget_tokens"] == 0
    assert none.ponder["thinking_stop"] == "exhausted"


async def test_messages_and_sampling_reach_the_worker(start_door):
    parts = [{"type": "text", "text": "What is\r\n2"}, {"type": "text", "text": "+ 2?"}]
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "refusal": None, "tool_calls": []},
        {"role": "user", "content": parts},
    ]
    async with start_door() as door:
        await door.complete(messages=messages, temperature=0.5, top_p=0.9, seed=-1)
        (asked,) = door.stack.easy.requests

    assert [(message.role, message.content) for message in asked.messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "What is\n2\n+ 2?"),
    ]
    assert asked.sampling == Sampling(temperature=0.5, top_p=0.9, seed=2**64 - 1)


async def test_what_changes_nothing_is_taken(start_door):
    harmless = {
        "n": 1,
        "user": "u-1",
        "metadata": {"a": "b"},
        "store": False,
        "presence_penalty": 0,
        "logit_bias": {},
        "tools": [],
        "stop": None,
        "extra_body": {"reasoning_effort": None, "anything": None},
    }
    async with start_door() as door:
        completion = await door.complete(**harmless)

    assert completion.choices[0].message.content


async def test_a_repeated_idempotency_key_is_answered_once(start_door):
    async with start_door() as door:
        headers = {"Idempotency-Key": "q-1"}
        first = await door.complete(seed=1, extra_headers=headers)
        second = await door.complete(seed=1, extra_headers=headers)

        assert len(door.stack.easy.requests) == 1

    assert first.choices == second.choices
    assert first._request_id == "q-1"


async def test_models_are_those_that_the_router_serves(start_door):
    async with start_door(door={"models": ("gone", "small")}) as door:
        listed = [model.id async for model in door.client.models.list()]

    assert listed == ["small"]
