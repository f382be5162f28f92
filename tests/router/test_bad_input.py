"""What a caller may not send: the status, the name of the field, the remedy, and no worker."""

import asyncio
import hashlib
import math
import re

import grpc
import pytest

from ponder.v1 import reasoner_pb2 as pb
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_UNSPECIFIED, ChatMessage, Sampling
from router.limits import CurrentLimits
from tests.router.conftest import request

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
USER = ChatMessage(role="user", content="Hi")

CASES = {
    "empty prompt": ({"prompt": ""}, "prompt and messages: neither set"),
    "blank prompt": ({"prompt": " \n\t"}, "prompt is empty"),
    "both": ({"prompt": "Hi", "messages": [USER]}, "prompt and messages: both set"),
    "oversized prompt": ({"prompt": "é" * 32_769}, "prompt: 65538 bytes; send at most 65536"),
    "oversized messages": (
        {"messages": [ChatMessage(role="user", content="x" * 40_000)] * 2},
        "messages: 80000 bytes; send at most 65536",
    ),
    "too many messages": ({"messages": [USER] * 257}, "messages: 257; send at most 256"),
    "nul": ({"prompt": "a\0b"}, r"prompt holds the control character U\+0000 at 1"),
    "escape": ({"prompt": "\x1b[31m"}, r"control character U\+001B"),
    "form feed": ({"prompt": "a\fb"}, r"control character U\+000C"),
    "c1": ({"prompt": "a\x85"}, r"control character U\+0085"),
    "control in message": (
        {"messages": [ChatMessage(role="user", content="\x07")]},
        r"messages\[0\].content holds",
    ),
    "role": (
        {"messages": [ChatMessage(role="root", content="Hi")]},
        r"messages\[0\].role: unknown; use one of system, user, assistant",
    ),
    "last role": (
        {"messages": [USER, ChatMessage(role="assistant", content="Hi")]},
        "messages: the last one must have the role user",
    ),
    "empty message": (
        {"messages": [ChatMessage(role="user", content="")]},
        r"messages\[0\].content is empty",
    ),
    "model": ({"model": "gpt-9"}, "model: unknown; use one of small"),
    "tier": ({"tier": 9}, "tier is 9, which is no tier; use one of simple"),
    "unspecified tier": ({"tier": TIER_UNSPECIFIED}, "tier is 0"),
    "max_tier": ({"max_tier": 9}, "max_tier is 9"),
    "negative budget": ({"thinking_budget": -1}, "thinking_budget is -1; use 0 to 10000"),
    "huge budget": ({"thinking_budget": 10_001}, "thinking_budget is 10001; use 0 to 10000"),
    "coverage 0": ({"coverage": 0.0}, "coverage is 0.0; use a number above 0 and below 1"),
    "coverage 1": ({"coverage": 1.0}, "coverage is 1.0"),
    "worth -1": ({"worth_tokens": -1}, "worth_tokens is -1; use a number of thinking tokens, or 0"),
    "coverage nan": ({"coverage": math.nan}, "coverage is nan"),
    "answer negative": ({"max_answer_tokens": -1}, "max_answer_tokens is -1; use 1 to 1024"),
    "answer huge": ({"max_answer_tokens": 1_025}, "max_answer_tokens is 1025"),
    "temperature": ({"sampling": Sampling(temperature=-0.1)}, "sampling.temperature is -0.1; use"),
    "temperature nan": (
        {"sampling": Sampling(temperature=math.nan)},
        "sampling.temperature is nan",
    ),
    "hot": ({"sampling": Sampling(temperature=2.1)}, "sampling.temperature is 2.1"),
    "top_p": ({"sampling": Sampling(top_p=1.1)}, "sampling.top_p is 1.1; use"),
    "no nucleus": ({"sampling": Sampling(top_p=0.0)}, "sampling.top_p is 0.0; use"),
    "request_id form": ({"request_id": "a b"}, "request_id: use 1 to 128 letters"),
    "request_id size": ({"request_id": "a" * 129}, "request_id: use 1 to 128 letters"),
}


@pytest.mark.parametrize(("fields", "message"), CASES.values(), ids=CASES.keys())
async def test_a_bad_field_is_refused_by_name(start, fields, message):
    async with start() as stack:
        code, details = await stack.refusal(**fields)

        assert code == INVALID
        assert not stack.easy.requests
        assert not stack.thinking.requests
    assert re.search(message, details), details


@pytest.mark.parametrize("method", ["Reason", "ReasonStream", "Plan", "Feedback"])
async def test_text_that_is_not_utf8_is_refused_with_a_reason(start, method):
    # Field 1, three bytes: a text that is no UTF-8, or a message whose prompt is none.
    serialized = b"\x0a\x03\x12\x01\x80"
    async with start() as stack:
        path = f"/ponder.v1.Reasoner/{method}"
        call = (
            stack.channel.unary_stream(path)
            if method == "ReasonStream"
            else stack.channel.unary_unary(path)
        )(serialized)
        code, details = await call.code(), await call.details()

    assert code == INVALID
    assert "must be UTF-8" in details


async def test_what_is_far_too_large_is_refused_before_it_is_read(start):
    async with start() as stack:
        code, details = await stack.refusal(prompt="x" * 300_000)
        wordy = (("x-note", "y" * 40_000),)
        call = stack.stub.Plan(pb.PlanRequest(request=request()), metadata=wordy)

        assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not stack.easy.requests
        assert (await stack.reason()).answer  # the connection lives on
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in details


async def test_a_failure_inside_tells_the_caller_nothing(start, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("redis://user:password@host")

    async with start() as stack:
        monkeypatch.setattr(CurrentLimits, "of", fail)
        code, details = await stack.refusal()

    assert (code, details) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_a_stranger_is_told_nothing_about_the_request(start, tenants_file):
    async with start(tenants_file=tenants_file) as stack:
        code, _ = await stack.refusal(prompt="", tier=9)

    assert code == grpc.StatusCode.UNAUTHENTICATED


async def test_line_ends_tabs_and_other_scripts_are_fine(start):
    async with start() as stack:
        assert (await stack.reason(prompt="a\n\tb\r\nc: 日本語 🙂")).answer


async def test_a_plan_is_checked_like_a_request(start):
    async with start() as stack:
        with pytest.raises(grpc.aio.AioRpcError, match="prompt is empty"):
            await stack.plan(prompt=" ")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thinking_budget": 501}, "thinking_budget is 501.*use at most 500"),
        ({"tier": TIER_COMPLEX}, "tier is complex.*smaller tier"),
    ],
)
async def test_more_than_the_plan_includes_is_denied(start, fields, message):
    async with start(max_tier="moderate") as stack:
        code, details = await stack.refusal(**fields)

        assert code == DENIED
        assert not stack.thinking.requests
    assert re.search(message, details), details


async def test_a_deadline_without_time_for_an_answer_reaches_no_worker(start):
    async with start(answer_reserve_s=30.0) as stack:
        code, details = await stack.refusal()

        assert code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert not stack.easy.requests
    assert "allow more time" in details


async def test_a_deadline_lowers_the_budget_by_the_measured_speed(start):
    async with start() as stack:
        stack.easy.script.ms_per_token = 100.0
        decision = await stack.plan_when(lambda found: bool(found.clamps))

    assert list(decision.clamps) == [pb.CLAMP_DEADLINE]
    seconds, tokens_per_s, reserve_tokens = 20, 10, 32
    at_most = seconds * tokens_per_s - reserve_tokens
    assert at_most - 20 < decision.budget_tokens <= at_most


async def test_an_id_in_flight_is_refused_for_another_question(start):
    async with start() as stack:
        stack.easy.script.hold_at = 16
        first = asyncio.ensure_future(stack.reason(request_id="q-1"))
        await stack.easy.holding.wait()
        code, details = await stack.refusal(request_id="q-1", prompt="Something else?")
        stack.easy.release.set()

        assert (await first).answer
        assert len(stack.easy.requests) == 1
    assert code == grpc.StatusCode.ALREADY_EXISTS
    assert "request_id is in use for a different request" in details


async def test_a_settled_id_gets_its_reply_again(start):
    async with start() as stack:
        first = await stack.reason(request_id="q-1")
        again = await stack.reason(request_id="q-1")
        streamed = await stack.stream(request_id="q-1")

        assert len(stack.easy.requests) == 1
    assert first == again == streamed[-1].final


async def test_a_settled_id_with_another_question_is_refused(start):
    async with start() as stack:
        await stack.reason(request_id="q-1")
        code, details = await stack.refusal(request_id="q-1", prompt="Something else?")

    assert code == grpc.StatusCode.ALREADY_EXISTS
    assert "use a new one" in details


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"request_id": ""}, "request_id"),
        ({"request_id": "q", "score": 1.5}, "score is 1.5; use a number from 0 to 1"),
        ({"request_id": "q", "score": math.nan}, "score is nan"),
    ],
)
async def test_bad_feedback_is_refused(start, fields, message):
    async with start() as stack:
        with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
            await stack.stub.Feedback(pb.FeedbackRequest(**fields))

    assert caught.value.code() == INVALID


@pytest.fixture
def tenants_file(tmp_path):
    path = tmp_path / "tenants.toml"
    digest = hashlib.sha256(b"secret").hexdigest()
    path.write_text(f'[tenants.acme]\nmax_tier = "moderate"\nkey_sha256 = ["{digest}"]\n')
    return str(path)


@pytest.mark.parametrize(
    "metadata", [(), (("authorization", "Bearer no"),), (("authorization", "secret"),)]
)
async def test_without_a_known_key_nobody_gets_in(start, tenants_file, metadata):
    async with start(tenants_file=tenants_file) as stack:
        with pytest.raises(grpc.aio.AioRpcError, match="authorization") as caught:
            await stack.stub.Reason(request(), metadata=metadata)

        assert not stack.easy.requests
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_the_tenant_and_its_plan_come_from_the_key(start, tenants_file):
    metadata = (("authorization", "Bearer secret"),)
    async with start(tenants_file=tenants_file) as stack:
        await stack.stub.Reason(request(), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stack.stub.Reason(request(tier=TIER_COMPLEX), metadata=metadata)
        (trace,) = await stack.traces()

    assert trace.tenant == "acme"
    assert caught.value.code() == DENIED
