"""Limits that hold before anything is parsed, unknown paths, health. Nothing here asks a router."""

import json

import pytest

from router.openai.config import DoorConfig
from tests.router.openai.conftest import serving_door
from tests.router.openai.raw_http import CHAT, ask, connect, request_bytes

BODY = json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode()
BAD_BODIES = {
    "empty": b"",
    "no json": b"{",
    "not utf-8": b'"\xff"',
    "nan": b'{"temperature": NaN}',
    "deep": b"[" * 100_000,
    "huge number": b'{"seed": ' + b"9" * 5_000 + b"}",
}
BAD_HEADERS = {
    "timeout text": ("Ponder-Timeout-S: soon", "Ponder-Timeout-S must be a number"),
    "timeout 0": ("Ponder-Timeout-S: 0", "Ponder-Timeout-S must be a number"),
    "timeout nan": ("Ponder-Timeout-S: nan", "Ponder-Timeout-S must be a number"),
    "key": ("Authorization: Bearer é", "Authorization must be printable ASCII"),
}


@pytest.fixture
async def url(unused_address):
    config = DoorConfig(router=unused_address, max_body_bytes=200_000)
    async with serving_door(config) as (base, _):
        yield base


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_body_that_is_no_json_is_400(url, body):
    status, reply = await ask(url, request_bytes(CHAT, body))

    assert (status, reply["error"]["type"]) == (400, "invalid_request_error")
    assert "the body is no JSON" in reply["error"]["message"]


@pytest.mark.parametrize(("header", "problem"), BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
async def test_a_bad_header_is_400(url, header, problem):
    status, reply = await ask(url, request_bytes(CHAT, BODY, header))

    assert status == 400
    assert problem in reply["error"]["message"]


async def test_a_body_that_says_it_is_too_large_is_not_even_read(url):
    status, reply = await ask(url, request_bytes(CHAT, BODY, length="content-length: 200001"))

    assert (status, reply["error"]["code"]) == (413, "request_too_large")


async def test_a_body_that_grows_too_large_is_413(url):
    chunks = 4 * (b"10000\r\n" + b" " * 0x10000 + b"\r\n")
    sent = request_bytes(CHAT, chunks, length="transfer-encoding: chunked")
    status, reply = await ask(url, sent)

    assert (status, reply["error"]["code"]) == (413, "request_too_large")


async def test_too_many_headers_are_431(url):
    headers = [f"x-{index}: 1" for index in range(62)]
    status, reply = await ask(url, request_bytes(CHAT, BODY, *headers))

    assert status == 431
    assert "65 headers; send at most 64" in reply["error"]["message"]


async def test_headers_that_never_end_are_refused(url):
    status, _ = await ask(url, b"POST / HTTP/1.1\r\nx: " + b"a" * 300_000)

    assert status == 400


async def test_another_type_of_content_is_415(url):
    sent = request_bytes(CHAT, BODY).replace(b"application/json", b"text/plain")
    status, reply = await ask(url, sent)

    assert (status, reply["error"]["param"]) == (415, "Content-Type")


@pytest.mark.parametrize(
    ("target", "status"), [("POST /v1/embeddings", 404), ("GET /v1/chat/completions", 405)]
)
async def test_what_it_does_not_serve_says_what_it_serves(url, target, status):
    answered, reply = await ask(url, request_bytes(target, b""))

    assert answered == status
    assert "POST /v1/chat/completions" in reply["error"]["message"]


async def test_one_connection_too_many_is_503(unused_address):
    config = DoorConfig(router=unused_address, max_connections=2)
    async with serving_door(config) as (url, _):
        _, first = await connect(url)
        status, _ = await ask(url, request_bytes("GET /v1/models", b""))
        first.close()

    assert status == 503


async def test_health_is_that_of_the_router(start_door, unused_address):
    async with serving_door(DoorConfig(router=unused_address)) as (alone, _):
        without, _ = await ask(alone, request_bytes("GET /healthz", b""))
    async with start_door() as door:
        starting, _ = await ask(door.url, request_bytes("GET /healthz", b""))
        await door.stack.router.server.set_serving()
        serving, _ = await ask(door.url, request_bytes("GET /healthz", b""))

    assert (without, starting, serving) == (503, 503, 200)
