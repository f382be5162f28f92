"""How vLLM, SGLang and llama.cpp write what they have sampled.

The shapes of llama.cpp are recorded from a server of xllamacpp 2026.10.11549; those of vLLM and
SGLang follow their sources (vllm/entrypoints/openai/completion, sglang/srt/managers).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tests.workers.upstream.fake_model import FakeModel

Json = dict[str, Any]
MODEL = "org/tiny"


@dataclass(frozen=True)
class Asked:
    """A completion, as the fake understands it."""

    ids: list[int]
    max_tokens: int
    stop_ids: list[int]
    banned: set[int]
    streams: bool = True


def sample(model: FakeModel, asked: Asked) -> tuple[list[int], str]:
    """The tokens, the one that ended it included, and why it ended."""
    taken: list[int] = []
    while len(taken) < asked.max_tokens:
        taken.append(model.next_token([*asked.ids, *taken], asked.banned))
        if taken[-1] == model.end_id or taken[-1] in asked.stop_ids:
            return taken, "stop"
    return taken, "length"


class Shape(Protocol):
    """One kind of server."""

    path: str

    def page(self, path: str, body: Json, model: FakeModel) -> Json | None: ...

    def asked(self, body: Json, model: FakeModel) -> Asked: ...

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]: ...


class VllmShape:
    """`num_per_event`: tokens that a busy server sends at once."""

    path = "/v1/completions"

    def __init__(self, num_per_event: int = 2) -> None:
        self._num_per_event = num_per_event

    def page(self, path: str, body: Json, model: FakeModel) -> Json | None:
        if path == "/tokenize":
            ids = _render(model, body["messages"]) if "messages" in body else None
            ids = list(model.tokenizer.encode_text(body["prompt"])) if ids is None else ids
            return {"count": len(ids), "max_model_len": 4096, "tokens": ids, "token_strs": None}
        card = {"id": MODEL, "object": "model", "owned_by": "vllm", "max_model_len": 4096}
        pages: dict[str, Json] = {
            "/v1/models": {"object": "list", "data": [card]},
            "/version": {"version": "0.11.0"},
        }
        return pages.get(path)

    def asked(self, body: Json, model: FakeModel) -> Asked:
        assert body["return_token_ids"]
        assert body["model"] == MODEL
        banned = {int(token) for token, bias in body["logit_bias"].items() if bias == -100}
        ends = {model.end_id} if body["min_tokens"] else set()
        return Asked(body["prompt"], body["max_tokens"], body["stop_token_ids"], banned | ends)

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]:
        taken, reason = sample(model, asked)
        step = self._num_per_event
        for start in range(0, len(taken), step):
            ids = taken[start : start + step]
            is_last = start + step >= len(taken)
            choice = {
                "index": 0,
                "text": _new_text(model, taken[:start], ids),
                "logprobs": None,
                "finish_reason": reason if is_last else None,
                "stop_reason": ids[-1] if is_last and ids[-1] in asked.stop_ids else None,
                "token_ids": ids,
            }
            usage = _usage(asked, start + len(ids))
            yield {"id": "cmpl-1", "object": "text_completion", "model": MODEL} | {
                "choices": [choice],
                "usage": usage,
            }
        yield {"id": "cmpl-1", "choices": [], "usage": _usage(asked, len(taken))}


class SglangShape:
    """`argument`: --stream-output and its successor send what is new, not everything so far."""

    path = "/generate"

    def __init__(self, argument: str = "") -> None:
        self._sends_new_ids = argument != ""
        self._sends_new_text = argument == "incremental_streaming_output"
        self._arguments = {argument: True} if argument else {}

    def page(self, path: str, body: Json, model: FakeModel) -> Json | None:
        card = {"id": MODEL, "owned_by": "sglang", "root": MODEL, "max_model_len": 4096}
        pages: dict[str, Json] = {
            "/v1/models": {"object": "list", "data": [card]},
            "/get_server_info": {"version": "0.5.3", "max_running_requests": 3} | self._arguments,
        }
        return pages.get(path)

    def asked(self, body: Json, model: FakeModel) -> Asked:
        params = body["sampling_params"]
        banned = {int(token) for token, bias in params["logit_bias"].items() if bias == -100}
        ends = {model.end_id} if params["min_new_tokens"] else set()
        stops = params["stop_token_ids"]
        return Asked(body["input_ids"], params["max_new_tokens"], stops, banned | ends)

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]:
        taken, reason = sample(model, asked)
        for count in range(1, len(taken) + 1):
            first_id = count - 1 if self._sends_new_ids else 0
            first = count - 1 if self._sends_new_text else 0
            finish = None
            if count == len(taken):
                of_stop = {"type": "stop", "matched": taken[-1]}
                finish = of_stop if reason == "stop" else {"type": "length", "length": count}
            yield {
                "text": _new_text(model, taken[:first], taken[first:count]),
                "output_ids": taken[first_id:count],
                "meta_info": {
                    "id": "1",
                    "finish_reason": finish,
                    "prompt_tokens": len(asked.ids),
                    "completion_tokens": count,
                    "cached_tokens": 0,
                },
            }


class LlamaCppShape:
    """It has no stop ids, streams no token whose text is not whole, and bans ends by a flag."""

    path = "/completion"

    def page(self, path: str, body: Json, model: FakeModel) -> Json | None:
        if path == "/tokenize":
            text = body["content"]
            if not body["parse_special"]:
                text = text.replace("<", "<\u200b")  # never read as a special token
            return {"tokens": list(model.tokenizer.encode_text(text))}
        if path == "/apply-template":
            return {"prompt": _text_of(body["messages"])}
        meta = {"n_vocab": 260, "n_ctx": 4096}
        pages: dict[str, Json] = {
            "/v1/models": {"data": [{"id": MODEL, "owned_by": "llamacpp", "meta": meta}]},
            "/props": {
                "default_generation_settings": {"n_ctx": 4096},
                "total_slots": 2,
                "bos_token": "<bos>",
                "eos_token": "<eos>",
                "build_info": "b1-test",
            },
        }
        return pages.get(path)

    def asked(self, body: Json, model: FakeModel) -> Asked:
        assert body["return_tokens"]
        banned = {token for token, bias in body["logit_bias"] if bias is False}
        ends = {model.end_id} if body["ignore_eos"] else set()
        return Asked(body["prompt"], body["n_predict"], [], banned | ends, body["stream"])

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]:
        taken, reason = sample(model, asked)
        end = {"stop": True, "stop_type": "eos" if reason == "stop" else "limit"}
        counts = {"tokens_predicted": len(taken), "tokens_evaluated": len(asked.ids)}
        if not asked.streams:
            pieces = [model.bytes_of(token) for token in taken]
            told = [{"id": t, "bytes": list(p)} for t, p in zip(taken, pieces, strict=True)]
            text = b"".join(pieces).decode("utf-8", "replace")
            yield (
                {"content": text, "tokens": taken, "completion_probabilities": told} | end | counts
            )
            return
        for place, token in enumerate(taken):
            so_far = b"".join(model.bytes_of(t) for t in taken[: place + 1])
            if _is_whole(so_far):
                text = _new_text(model, taken[:place], [token])
                yield {"index": 0, "content": text, "tokens": [token], "stop": False} | {
                    "tokens_predicted": place + 1
                }
        yield {"index": 0, "content": "", "tokens": []} | end | counts


def _render(model: FakeModel, messages: list[Json]) -> list[int]:
    return list(model.tokenizer.encode_text(_text_of(messages)))


def _text_of(messages: list[Json]) -> str:
    said = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
    return f"<bos>{said}<think>"


def _new_text(model: FakeModel, before: list[int], new: list[int]) -> str:
    """The text that is whole with the new tokens and was not before."""
    pieces = [b"".join(model.bytes_of(token) for token in ids) for ids in (before, before + new)]
    old, all_of_it = (piece.decode("utf-8", "ignore") for piece in pieces)
    return all_of_it[len(old) :]


def _is_whole(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _usage(asked: Asked, sampled: int) -> Json:
    prompt = len(asked.ids)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": sampled,
        "total_tokens": prompt + sampled,
    }
