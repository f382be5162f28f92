"""Which fields of a chat completion are read, which change nothing, and which are refused.

A field that is in no table is refused too: what a caller asks for is never dropped in silence.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from router.openai.errors import UNSUPPORTED, ApiError

READ: Final = frozenset(
    (
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "reasoning_effort",
        "seed",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
    )
)
# They say who asks and how a provider may cache; the reply is the same without them.
IGNORED: Final = frozenset(
    (
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "user",
    )
)
# Not supported, but sent by clients with the value that asks for nothing.
NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "audio": (),
        "frequency_penalty": (0, 0.0),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "logit_bias": ({},),
        "logprobs": (False,),
        "modalities": (["text"],),
        "n": (1,),
        "prediction": (),
        "presence_penalty": (0, 0.0),
        "response_format": ({"type": "text"},),
        "service_tier": ("auto", "default"),
        "stop": ([],),
        "store": (False,),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
)
_MAX_NAME_SHOWN: Final = 64


def check_fields(body: Mapping[str, Any]) -> None:
    """Null is as good as absent. Raises ApiError that names the first field it cannot honour."""
    for name, value in body.items():
        if value is None or name in READ or name in IGNORED:
            continue
        if name not in NEUTRAL:
            shown = name[:_MAX_NAME_SHOWN]
            raise ApiError(UNSUPPORTED, f"{shown}: unknown field; leave it out", shown)
        if not any(_is_same(value, neutral) for neutral in NEUTRAL[name]):
            raise ApiError(UNSUPPORTED, _refusal(name), name)


def _is_same(value: Any, neutral: Any) -> bool:
    # In Python True equals 1, in JSON it does not.
    return type(value) is type(neutral) and bool(value == neutral)


def _refusal(name: str) -> str:
    neutral = NEUTRAL[name]
    remedy = f"send {json.dumps(neutral[0])} or leave it out" if neutral else "leave it out"
    return f"{name} is not supported; {remedy}"
