"""How vLLM, SGLang and llama.cpp write what they have sampled.

The shapes of llama.cpp are recorded from a server of xllamacpp 2026.10.11549; those of vLLM and
SGLang follow their sources (vllm/entrypoints/openai/completion, sglang/srt/managers).
"""

import math
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
    num_likely: int = 0


def sample(model: FakeModel, asked: Asked) -> tuple[list[int], str]:
    """The tokens, the one that ended it included, and why it ended."""
    taken: list[int] = []
    while len(taken) < asked.max_tokens:
        taken.append(model.next_token([*asked.ids, *taken], asked.banned))
        if taken[-1] == model.end_id or taken[-1] in asked.stop_ids:
            return taken, "stop"
    return taken, "length"


def logprobs(model: FakeModel, asked: Asked, taken: list[int]) -> list[float]:
    """Of each token, as the model had it."""
    shares = [model.share_of_next([*asked.ids, *taken[:n]]) for n in range(len(taken))]
    return [math.log(share) for share in shares]


class Shape(Protocol):
    """One kind of server. `num_kept_back`: events that a reader needs to see beyond a token.

    `metrics`: its page of them, where it has one.
    """

    path: str
    metrics: str | None
    num_kept_back: int

    def page(self, path: str, body: Json, model: FakeModel) -> Json | None: ...

    def asked(self, body: Json, model: FakeModel) -> Asked: ...

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]: ...

    def num_sampled(self, event: Json) -> int:
        """By the server's own counter, with an event."""
        ...


class VllmShape:
    """`num_per_event`: tokens that a busy server sends at once."""

    path = "/v1/completions"
    num_kept_back = 0

    def __init__(
        self, num_per_event: int = 2, *, tells_logprobs: bool = True, metrics: str | None = None
    ) -> None:
        self._num_per_event = num_per_event
        self._tells_logprobs = tells_logprobs
        self.metrics = metrics

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
        num_likely = body.get("logprobs", 0)
        assert not num_likely or body["return_tokens_as_token_ids"]
        stops = body["stop_token_ids"]
        return Asked(
            body["prompt"], body["max_tokens"], stops, banned | ends, num_likely=num_likely
        )

    def num_sampled(self, event: Json) -> int:
        return int(event["usage"]["completion_tokens"])

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]:
        taken, reason = sample(model, asked)
        told = logprobs(model, asked, taken)
        step = self._num_per_event
        for start in range(0, len(taken), step):
            ids = taken[start : start + step]
            is_last = start + step >= len(taken)
            choice = {
                "index": 0,
                "text": _new_text(model, taken[:start], ids),
                "logprobs": self._logprobs(asked, ids, told[start : start + step]),
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

    def _logprobs(self, asked: Asked, ids: list[int], told: list[float]) -> Json | None:
        if not asked.num_likely or not self._tells_logprobs:
            return None
        tokens = [f"token_id:{token}" for token in ids]
        return {
            "tokens": tokens,
            "token_logprobs": told,
            "top_logprobs": [
                {t: lp, "token_id:0": -9.0} for t, lp in zip(tokens, told, strict=True)
            ],
            "text_offset": [0] * len(ids),
        }


class SglangShape:
    """`argument`: --stream-output and its successor send what is new, not everything so far."""

    path = "/generate"
    metrics = None
    num_kept_back = 0

    def __init__(self, argument: str = "", **arguments: Any) -> None:
        self._sends_new_ids = argument != ""
        self._sends_new_text = argument == "incremental_streaming_output"
        self._arguments = ({argument: True} if argument else {}) | arguments

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
        num_likely = body["top_logprobs_num"] if body["return_logprob"] else 0
        return Asked(
            body["input_ids"],
            params["max_new_tokens"],
            stops,
            banned | ends,
            num_likely=num_likely,
        )

    def num_sampled(self, event: Json) -> int:
        return int(event["meta_info"]["completion_tokens"])

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]:
        taken, reason = sample(model, asked)
        told = list(zip(logprobs(model, asked, taken), taken, [None] * len(taken), strict=True))
        of_logprobs = {}
        for count in range(1, len(taken) + 1):
            if asked.num_likely:
                of_logprobs = {
                    "output_token_logprobs": told[:count],
                    "output_top_logprobs": [[one, (-9.0, 0, None)] for one in told[:count]],
                }
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
                }
                | of_logprobs,
            }


class LlamaCppShape:
    """It has no stop ids, streams no token whose text is not whole, and bans ends by a flag."""

    path = "/completion"
    metrics = None
    num_kept_back = 1

    def __init__(self, num_slots: int = 2) -> None:
        self._num_slots = num_slots

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
                "total_slots": self._num_slots,
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
        num_likely = body["n_probs"] if body["stream"] else 0
        return Asked(
            body["prompt"], body["n_predict"], [], banned | ends, body["stream"], num_likely
        )

    def num_sampled(self, event: Json) -> int:
        return int(event["tokens_predicted"])

    def events(self, model: FakeModel, asked: Asked) -> Iterator[Json]:
        taken, reason = sample(model, asked)
        told_logprobs = logprobs(model, asked, taken)
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
                event = {"index": 0, "content": text, "tokens": [token], "stop": False}
                event |= {"tokens_predicted": place + 1}
                if asked.num_likely:
                    one = {"id": token, "token": text, "logprob": told_logprobs[place]}
                    likely = [one, {"id": 0, "token": "", "logprob": -9.0}]
                    event["completion_probabilities"] = [one | {"top_logprobs": likely}]
                yield event
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
