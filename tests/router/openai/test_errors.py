"""What the router refuses arrives as the official client's exception, with OpenAI's field names."""

import asyncio
import hashlib

import openai
import pytest
from grpc import StatusCode

from router.openai.config import DoorConfig
from router.openai.errors import from_status
from tests.router.openai.conftest import QUESTION, client_of, serving_door

TENANTS = f"""
[tenants.acme]
max_tier = "moderate"
key_sha256 = ["{hashlib.sha256(b"sesame").hexdigest()}"]
"""
MAPPED = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.FAILED_PRECONDITION: 422,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.INTERNAL: 500,
    StatusCode.UNKNOWN: 500,
    StatusCode.UNIMPLEMENTED: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.CANCELLED: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
RENAMED = {
    "max_answer_tokens is 9; use 1 to 4": ("max_completion_tokens", "max_completion_tokens is 9;"),
    "sampling.top_p is 0.0; use more": ("top_p", "top_p is 0.0;"),
    "messages[3].content holds the control": ("messages[3].content", "messages[3].content holds"),
    "prompt: 9 tokens; send fewer": ("messages", "messages: 9 tokens;"),
    "Something else": (None, "Something else"),
}


@pytest.fixture
def tenants_file(tmp_path) -> str:
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS)
    return str(path)


@pytest.mark.parametrize(("status", "http"), MAPPED.items(), ids=lambda value: str(value))
def test_each_status_has_its_http_status(status, http):
    error = from_status(status, "no room", 7)

    assert error.kind.status == http
    assert error.headers.get("Retry-After") == ("7" if http in (429, 503) else None)


@pytest.mark.parametrize(("details", "expected"), RENAMED.items(), ids=RENAMED.keys())
def test_fields_are_told_by_openais_names(details, expected):
    error = from_status(StatusCode.INVALID_ARGUMENT, details, 1)

    assert (error.param, error.message[: len(expected[1])]) == expected


async def test_a_value_out_of_range_is_400(start_door):
    async with start_door() as door:
        with pytest.raises(openai.BadRequestError, match=r"temperature is 3\.0; use") as caught:
            await door.complete(temperature=3.0)

        assert not door.stack.easy.requests

    assert (caught.value.param, caught.value.type) == ("temperature", "invalid_request_error")


async def test_an_unsupported_field_is_400_and_touches_no_worker(start_door):
    async with start_door() as door:
        with pytest.raises(openai.BadRequestError, match="stop is not supported") as caught:
            await door.complete(stop=["\n"])

        assert not door.stack.easy.requests

    assert (caught.value.param, caught.value.code) == ("stop", "unsupported_parameter")


async def test_a_missing_key_is_401_and_an_unknown_one_too(start_door, tenants_file):
    async with start_door(tenants_file=tenants_file) as door:
        with pytest.raises(openai.AuthenticationError, match="unknown key"):
            await door.complete()
        with pytest.raises(openai.AuthenticationError, match="authorization is missing") as caught:
            await door.complete(extra_headers={"Authorization": openai.omit})

    assert caught.value.code == "invalid_api_key"


async def test_the_key_says_whose_request_it_is(start_door, tenants_file):
    async with start_door(tenants_file=tenants_file, client={"api_key": "sesame"}) as door:
        await door.complete()
        listed = [model.id async for model in door.client.models.list()]
        (trace,) = await door.stack.traces_when(1)

    assert (trace.tenant, listed) == ("acme", ["small"])


async def test_an_effort_above_the_plan_is_403(start_door, tenants_file):
    async with start_door(tenants_file=tenants_file, client={"api_key": "sesame"}) as door:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            await door.complete(reasoning_effort="high")

    assert caught.value.param == "reasoning_effort"


async def test_an_unknown_model_is_404(start_door):
    async with start_door() as door:
        with pytest.raises(openai.NotFoundError, match="use one of small") as caught:
            await door.complete(model="gpt-9")

    assert caught.value.code == "model_not_found"


async def test_a_key_used_for_another_request_is_409(start_door):
    async with start_door() as door:
        await door.complete(seed=1, extra_headers={"Idempotency-Key": "q-1"})
        with pytest.raises(openai.ConflictError) as caught:
            await door.complete(seed=2, extra_headers={"Idempotency-Key": "q-1"})

    assert caught.value.param == "Idempotency-Key"


async def test_full_workers_are_429_with_a_time_to_come_back(start_door):
    async with start_door(door={"retry_after_s": 3}) as door:
        for worker in (door.stack.easy, door.stack.thinking):
            worker.script.refuse = StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(openai.RateLimitError) as caught:
            await door.complete()

    assert caught.value.response.headers["retry-after"] == "3"


async def test_the_time_to_come_back_is_the_routers_where_that_is_longer(start_door):
    async with start_door(max_queue_s=1.0) as door:
        easy = door.stack.easy
        easy.script.max_running, easy.script.ms_per_token, easy.script.hold_at = 1, 10.0, 0
        links = list(door.stack.router.pools.links())
        await door.stack.plan_when(lambda _: any(link.slots for link in links))
        held = asyncio.ensure_future(door.stack.reason())
        await easy.holding.wait()
        with pytest.raises(openai.RateLimitError) as caught:
            await door.complete()
        easy.release.set()
        await held

    # 500 thinking tokens and an answer of 32 in 10 ms each, less the second that is allowed.
    assert caught.value.response.headers["retry-after"] == "5"


async def test_without_a_router_it_is_503_and_no_address_is_told(unused_address):
    config = DoorConfig(router=unused_address)
    async with serving_door(config) as (url, _), client_of(url) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat.completions.create(model="small", messages=QUESTION)

    assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
    assert unused_address.rpartition(":")[2] not in caught.value.message


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
async def test_a_deadline_that_passes_is_504_and_not_worth_repeating(start_door, is_stream):
    async with start_door(client={"max_retries": 2}) as door:
        door.stack.easy.script.hold_at = 0
        with pytest.raises(openai.InternalServerError) as caught:
            await door.complete(stream=is_stream, extra_headers={"Ponder-Timeout-S": "0.5"})

        assert len(door.stack.easy.requests) == 1

    assert caught.value.status_code == 504
