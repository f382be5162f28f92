"""vLLM's /v1/completions, with `return_token_ids` (vLLM 0.10.2 and newer).

Source: vllm/entrypoints/openai/completion/protocol.py.
"""

from collections.abc import Iterator
from typing import Any

from workers.upstream.dialects import Call, End, Piece
from workers.upstream.errors import Broken, Garbled
from workers.upstream.odds import Odds
from workers.upstream.wire import Json


class Vllm:
    """See Dialect."""

    name = "vLLM"
    path = "/v1/completions"

    def __init__(self, model: str) -> None:
        self._model = model

    def body(self, call: Call) -> dict[str, Any]:
        """The server's own defaults of sampling, from the model's folder, are switched off."""
        # As ids, because different tokens may have the same text.
        odds = {"logprobs": call.num_likely, "return_tokens_as_token_ids": True}
        return {
            "model": self._model,
            "prompt": list(call.prompt_ids),
            "max_tokens": call.max_tokens,
            "min_tokens": int(call.bans_end),
            "temperature": call.temperature,
            "top_p": call.top_p,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "seed": call.seed,
            "stop_token_ids": [] if call.stop_id is None else [call.stop_id],
            "logit_bias": {str(token): -100.0 for token in call.banned_ids},
            "return_token_ids": True,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            **(odds if call.num_likely else {}),
        }

    def reader(self, call: Call) -> "VllmReader":
        """See Dialect."""
        return VllmReader(call)


class VllmReader:
    """The usage may come with the last choice or after it."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._num_sampled = 0
        self._end: End | None = None

    def read(self, event: Json) -> Iterator[Piece | End]:
        """See Reader."""
        for choice in event.get("choices", ()):
            yield from self._read_choice(choice)
        usage = event.get("usage")
        if self._end is not None and usage:
            if usage["completion_tokens"] != self._num_sampled:
                raise Garbled(
                    f"says that it sampled {usage['completion_tokens']} tokens and sent "
                    f"{self._num_sampled}"
                )
            yield self._end

    def _read_choice(self, choice: Json) -> Iterator[Piece | End]:
        ids = tuple(choice.get("token_ids") or ())
        if choice.get("text") and not ids:
            raise Garbled("sent text without token_ids: it needs vLLM 0.10.2 or newer")
        self._num_sampled += len(ids)
        reason = choice.get("finish_reason")
        if reason == "stop":  # the token that ended it comes too, its text does not
            self._end = End.STOP_ID if ids[-1:] == (self._call.stop_id,) else End.END
            ids = ids[:-1]
        elif reason == "length":
            self._end = End.LIMIT
        elif reason is not None:
            raise Broken(f"ended a completion with {reason!r}")
        if ids:
            yield Piece(ids, choice.get("text") or "", self._odds(choice, len(ids)))

    def _odds(self, choice: Json, count: int) -> tuple[Odds, ...]:
        if not self._call.num_likely:
            return ()
        told = choice["logprobs"]
        rows = zip(told["token_logprobs"], told["top_logprobs"], strict=True)
        return tuple(Odds.of(logprob, likely.values()) for logprob, likely in rows)[:count]
