"""SGLang's /generate, its native endpoint: the one that takes and tells token ids.

Source: docs.sglang.io, "SGLang Native APIs" and "Sampling Parameters".
"""

from collections.abc import Iterator
from typing import Any

from workers.upstream.dialects import Call, End, Piece
from workers.upstream.errors import Broken, Garbled
from workers.upstream.wire import Json


class Sglang:
    """See Dialect."""

    name = "SGLang"
    path = "/generate"

    def body(self, call: Call) -> dict[str, Any]:
        """The server's own defaults of sampling, from the model's folder, are switched off."""
        return {
            "input_ids": list(call.prompt_ids),
            "sampling_params": {
                "max_new_tokens": call.max_tokens,
                "min_new_tokens": int(call.bans_end),
                "temperature": call.temperature,
                "top_p": call.top_p,
                "top_k": -1,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "sampling_seed": call.seed,
                "stop_token_ids": [] if call.stop_id is None else [call.stop_id],
                "logit_bias": {str(token): -100.0 for token in call.banned_ids},
            },
            "stream": True,
        }

    def reader(self, call: Call) -> "SglangReader":
        """See Dialect."""
        return SglangReader(call)


class SglangReader:
    """Each event repeats all tokens and text so far, or, with --stream-output, has the new ones."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._num_sampled = 0
        self._text = ""

    def read(self, event: Json) -> Iterator[Piece | End]:
        """See Reader."""
        meta = event["meta_info"]
        ids, text = self._new(event, meta["completion_tokens"])
        end, reason = None, meta.get("finish_reason")
        if reason is not None:
            end = self._end(reason)
            # The token that ended it comes too, its text does not.
            ids = ids if end is End.LIMIT else ids[:-1]
        if ids:
            yield Piece(ids, text)
        if end is not None:
            yield end

    def _new(self, event: Json, num_sampled: int) -> tuple[tuple[int, ...], str]:
        ids, text = tuple(event["output_ids"]), event["text"]
        if len(ids) == num_sampled:  # all of them
            ids, text = ids[self._num_sampled :], text[len(self._text) :]
        if self._num_sampled + len(ids) != num_sampled:
            raise Garbled(
                f"says that it sampled {num_sampled} tokens and sent {self._num_sampled + len(ids)}"
            )
        self._num_sampled = num_sampled
        self._text += text
        return ids, text

    def _end(self, reason: Json) -> End:
        match reason["type"]:
            case "length":
                return End.LIMIT
            case "stop":
                is_stop_id = reason.get("matched") == self._call.stop_id
                return End.STOP_ID if is_stop_id and self._call.stop_id is not None else End.END
            case other:
                raise Broken(f"ended a completion with {other!r}: {reason.get('message', '')}")
