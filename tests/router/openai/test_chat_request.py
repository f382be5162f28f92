"""What the door refuses before it asks the router: the field's name, and a remedy."""

import re

import pytest

from ponder.v1.budget_pb2 import Sampling
from router.openai.chat_fields import IGNORED, NEUTRAL, READ
from router.openai.chat_request import parse_chat
from router.openai.errors import ApiError

USER = {"role": "user", "content": "Hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}

CASES = {
    "stop": ({"stop": ["\n"]}, "stop", r"is not supported; send \[\] or leave it out"),
    "stop text": ({"stop": "\n"}, "stop", "is not supported"),
    "n": ({"n": 2}, "n", "is not supported; send 1 or leave it out"),
    "n true": ({"n": True}, "n", "is not supported"),
    "tools": ({"tools": [{}]}, "tools", "is not supported"),
    "logprobs": ({"logprobs": True}, "logprobs", "is not supported"),
    "json": ({"response_format": {"type": "json_object"}}, "response_format", "is not supported"),
    "penalty": ({"presence_penalty": 0.5}, "presence_penalty", "is not supported; send 0"),
    "bias": ({"logit_bias": {"1": 1}}, "logit_bias", "is not supported"),
    "audio": ({"audio": {}}, "audio", "is not supported; leave it out"),
    "store": ({"store": True}, "store", "is not supported"),
    "unknown": ({"top_k": 5}, "top_k", "unknown field; leave it out"),
    "effort": ({"reasoning_effort": "huge"}, "reasoning_effort", "must be one of none, minimal"),
    "effort type": ({"reasoning_effort": 3}, "reasoning_effort", "must be one of"),
    "effort list": ({"reasoning_effort": []}, "reasoning_effort", "must be one of"),
    "limit 0": ({"max_completion_tokens": 0}, "max_completion_tokens", "must be 1 or more"),
    "limit text": ({"max_tokens": "9"}, "max_tokens", "must be a whole number"),
    "limit true": ({"max_tokens": True}, "max_tokens", "must be a whole number"),
    "limit 1.5": ({"max_tokens": 1.5}, "max_tokens", "must be a whole number"),
    "temperature": ({"temperature": "hot"}, "temperature", "must be a number"),
    "temperature size": ({"temperature": 10**400}, "temperature", "is too large"),
    "top_p": ({"top_p": False}, "top_p", "must be a number"),
    "seed": ({"seed": 2**64}, "seed", "must fit into 64 bits"),
    "seed below": ({"seed": -(2**63) - 1}, "seed", "must fit into 64 bits"),
    "seed type": ({"seed": 1.0}, "seed", "must be a whole number"),
    "stream": ({"stream": 1}, "stream", "must be true or false"),
    "options alone": (
        {"stream_options": {"include_usage": True}},
        "stream_options",
        "is only for a stream",
    ),
    "options type": ({"stream": True, "stream_options": []}, "stream_options", "must be an object"),
    "option": (
        {"stream": True, "stream_options": {"x": 1}},
        "stream_options.x",
        "is unknown; leave it out",
    ),
    "usage type": (
        {"stream": True, "stream_options": {"include_usage": 1}},
        "stream_options.include_usage",
        "must be true or false",
    ),
    "model type": ({"model": 4}, "model", "must be a text"),
    "no messages": ({"messages": None}, "messages", "must be a list of at least one"),
    "empty messages": ({"messages": []}, "messages", "must be a list of at least one"),
    "messages type": ({"messages": "Hi"}, "messages", "must be a list"),
    "message type": ({"messages": ["Hi"]}, "messages[0]", "must be an object"),
    "role": ({"messages": [USER, {"role": "tool"}]}, "messages[1].role", "use one of developer"),
    "role type": ({"messages": [{"role": []}]}, "messages[0].role", "use one of developer"),
    "content": ({"messages": [{"role": "user"}]}, "messages[0].content", "must be a text"),
    "no parts": (
        {"messages": [{"role": "user", "content": []}]},
        "messages[0].content",
        "must be a text",
    ),
    "image": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]}]},
        "messages[0].content[1].type",
        "only parts of the type text",
    ),
    "part text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
        "must be a text",
    ),
    "surrogate": (
        {"messages": [{"role": "user", "content": "\ud800"}]},
        "messages[0].content",
        "holds half of a surrogate pair",
    ),
    "name": ({"messages": [{**USER, "name": "Bo"}]}, "messages[0].name", "is not supported"),
    "call": (
        {"messages": [{**USER, "tool_calls": [{}]}]},
        "messages[0].tool_calls",
        "is not supported",
    ),
}


@pytest.mark.parametrize(("fields", "param", "problem"), CASES.values(), ids=CASES.keys())
def test_a_bad_field_is_refused_by_name(fields, param, problem):
    with pytest.raises(ApiError) as caught:
        parse_chat({"messages": [USER], **fields}, "q-1")

    assert (caught.value.kind.status, caught.value.param) == (400, param)
    assert caught.value.message.startswith(param)
    assert re.search(problem, caught.value.message)


@pytest.mark.parametrize("body", [None, [], "Hi", 4])
def test_a_body_must_be_an_object(body):
    with pytest.raises(ApiError, match="body must be a JSON object"):
        parse_chat(body, "q-1")


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_what_asks_for_nothing_is_taken(name):
    for value in (None, *NEUTRAL[name]):
        assert parse_chat({"messages": [USER], name: value}, "q-1").reason.messages


def test_each_field_is_in_one_table():
    assert not READ & IGNORED
    assert not (READ | IGNORED) & NEUTRAL.keys()


def test_unset_sampling_stays_unset():
    chat = parse_chat({"messages": [USER]}, "q-1")

    assert chat.reason.sampling == Sampling()
    assert (chat.max_tokens, chat.is_stream, chat.includes_usage) == (None, False, False)
    assert not chat.reason.HasField("thinking_budget")
    assert not chat.reason.HasField("tier")


def test_obfuscation_is_not_offered_and_harmless():
    options = {"include_usage": True, "include_obfuscation": True}
    chat = parse_chat({"messages": [USER], "stream": True, "stream_options": options}, "q-1")

    assert chat.includes_usage
