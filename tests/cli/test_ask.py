"""`ponder ask` against a real server: what it sends, prints and says when it fails."""

import json
import socket

import pytest
from grpc import StatusCode

from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_SIMPLE


def test_the_answer_alone_goes_to_stdout(ponder):
    result = ponder("ask", "Reach 24 from 6, 5 and 1.")

    assert result.exit_code == 0
    assert result.stdout == "6 * (5 - 1)\n"


def test_decision_escalation_and_usage_are_told_on_stderr_in_this_order(ponder):
    lines = ponder("ask", "Reach 24 from 6, 5 and 1.").stderr.splitlines()

    assert lines[0].startswith("moderate: up to 500 thinking tokens, easy pool")
    assert lines[1].startswith("escalated to complex: up to 2000 thinking tokens, thinking pool")
    assert lines[2] == (
        "777 of 2000 thinking tokens (finished), escalated once, 9 answer tokens, "
        "1234 ms, first token after 12 ms"
    )


def test_json_is_one_document_with_the_whole_reply(ponder):
    result = ponder("ask", "Reach 24 from 6, 5 and 1.", "--json")

    reply = json.loads(result.stdout)
    assert reply["answer"] == "6 * (5 - 1)"
    assert reply["usage"]["thinking_tokens"] == 777
    assert reply["usage"]["forced_tokens"] == 0


def test_every_option_reaches_the_request(ponder, router):
    ponder(
        "ask", "q", "--budget", "0", "--tier", "simple", "--max-tier", "complex",
        "--coverage", "0.99", "--max-answer-tokens", "7", "--temperature", "0.5",
        "--seed", "0", "--show-thinking", "--api-key", "k", "--timeout", "9",
    )  # fmt: skip

    request = router.requests[0]
    assert (request.prompt, request.HasField("thinking_budget")) == ("q", True)
    assert (request.thinking_budget, request.tier, request.max_tier) == (
        0,
        TIER_SIMPLE,
        TIER_COMPLEX,
    )
    assert (request.coverage, request.max_answer_tokens) == (0.99, 7)
    assert (request.sampling.temperature, request.sampling.HasField("seed")) == (0.5, True)
    assert request.include_thinking
    assert router.metadata["authorization"] == "Bearer k"
    assert 8 < router.deadline_s < 10


def test_what_is_not_given_is_left_to_the_router(ponder, router):
    ponder("ask", "q")

    request = router.requests[0]
    for field in ("thinking_budget", "tier", "max_tier", "coverage"):
        assert not request.HasField(field)
    assert not request.sampling.HasField("seed")
    assert "authorization" not in router.metadata


def test_the_thinking_is_shown_on_stderr_when_asked_for(ponder):
    assert "6 5 1 yes" in ponder("ask", "q", "--show-thinking").stderr
    assert "6 5 1 yes" not in ponder("ask", "q").stderr


def test_a_dash_reads_the_question_from_standard_input(ponder, router):
    ponder("ask", "-", input="line one\nline two\n")

    assert router.requests[0].prompt == "line one\nline two"


@pytest.mark.parametrize("arguments", [("-",), ("\udcff",)])
def test_a_question_that_is_not_utf_8_is_refused_before_it_is_sent(ponder, router, arguments):
    result = ponder("ask", *arguments, input=b"\xff\xfe")

    assert result.exit_code == 2
    assert "not UTF-8" in result.stderr
    assert not router.requests


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (StatusCode.INVALID_ARGUMENT, ""),
        (StatusCode.UNAUTHENTICATED, "--api-key"),
        (StatusCode.PERMISSION_DENIED, "tenant"),
        (StatusCode.RESOURCE_EXHAUSTED, "try again"),
        (StatusCode.DEADLINE_EXCEEDED, "--timeout"),
        (StatusCode.UNAVAILABLE, "router's log"),
    ],
)
def test_a_refusal_is_one_line_with_code_message_and_remedy(ponder, router, code, remedy):
    router.failure = (code, "prompt: it is\nbad")

    result = ponder("ask", "q")

    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {code.name}: prompt: it is bad")
    assert remedy in line


def test_with_json_a_refusal_is_a_document_too(ponder, router):
    router.failure = (StatusCode.INVALID_ARGUMENT, "prompt: is empty")

    result = ponder("ask", "", "--json")

    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["message"]) == ("INVALID_ARGUMENT", "prompt: is empty")


def test_a_stream_that_ends_early_is_a_failure(ponder, router):
    router.has_final = False

    result = ponder("ask", "q")

    assert result.exit_code == 1
    assert "ended without a reply" in result.stderr


def test_an_unreachable_router_is_told_with_how_to_start_one(ponder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"127.0.0.1:{listener.getsockname()[1]}"

    result = ponder("ask", "q", "--target", target)

    assert result.exit_code == 1
    assert f"no router answers at {target}" in result.stderr
    assert "ponder up" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--budget", "-1"), ("--tier", "huge"), ("--coverage", "1"), ("--timeout", "0")],
)
def test_a_bad_option_is_named(ponder, router, option, value):
    result = ponder("ask", "q", option, value)

    assert result.exit_code == 2
    assert option in result.stderr
    assert not router.requests
