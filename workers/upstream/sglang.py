"""SGLang's /generate, its native endpoint: the one that takes and tells token ids.

Source: docs.sglang.io, "SGLang Native APIs" and "Sampling Parameters".
"""

from collections.abc import Iterator
from typing import Any, Self

from workers.upstream.dialects import Call, End, Piece
from workers.upstream.errors import Broken, Garbled
from workers.upstream.odds import Odds
from workers.upstream.wire import Json


class Sglang:
    """See Dialect.

    `sends_new_ids`, `sends_new_text`: each event has what is new, instead of everything so far.
    """

    name = "SGLang"
    path = "/generate"

    def __init__(self, *, sends_new_ids: bool = False, sends_new_text: bool = False) -> None:
        self._sends_new_ids = sends_new_ids
        self._sends_new_text = sends_new_text

    @classmethod
    def of(cls, info: Json) -> Self:
        """By the server's arguments: --stream-output does it to ids, its successor to both."""
        is_incremental = bool(info.get("incremental_streaming_output"))
        return cls(
            sends_new_ids=is_incremental or bool(info.get("stream_output")),
            sends_new_text=is_incremental,
        )

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
            "return_logprob": call.num_likely > 0,
            "top_logprobs_num": call.num_likely,
            "stream": True,
        }

    def reader(self, call: Call) -> "SglangReader":
        """See Dialect."""
        return SglangReader(call, self._sends_new_ids, self._sends_new_text)


class SglangReader:
    """Finds what is new in each event."""

    def __init__(self, call: Call, sends_new_ids: bool, sends_new_text: bool) -> None:
        self._call = call
        self._sends_new_ids = sends_new_ids
        self._sends_new_text = sends_new_text
        self._num_sampled = 0
        self._text = ""

    def read(self, event: Json) -> Iterator[Piece | End]:
        """See Reader."""
        meta = event["meta_info"]
        ids, text = self._new(event, meta["completion_tokens"])
        odds = self._odds(meta, len(ids))
        end, reason = None, meta.get("finish_reason")
        if reason is not None:
            end = self._end(reason)
            # The token that ended it comes too, its text does not.
            ids = ids if end is End.LIMIT else ids[:-1]
        if ids:
            yield Piece(ids, text, odds[: len(ids)])
        if end is not None:
            yield end

    def _new(self, event: Json, num_sampled: int) -> tuple[tuple[int, ...], str]:
        ids, text = tuple(event["output_ids"]), event["text"] or ""
        if not self._sends_new_ids:
            ids = ids[self._num_sampled :]
        if not self._sends_new_text:
            text = text[len(self._text) :]
        if self._num_sampled + len(ids) != num_sampled:
            raise Garbled(
                f"says that it sampled {num_sampled} tokens and sent {self._num_sampled + len(ids)}"
            )
        self._num_sampled = num_sampled
        self._text += text
        return ids, text

    def _odds(self, meta: Json, num_new: int) -> tuple[Odds, ...]:
        """Of the newest tokens, whether or not those before are told again."""
        if not self._call.num_likely or not num_new:
            return ()
        told = zip(
            meta["output_token_logprobs"][-num_new:],
            meta["output_top_logprobs"][-num_new:],
            strict=True,
        )
        return tuple(Odds.of(one[0], [each[0] for each in likely]) for one, likely in told)

    def _end(self, reason: Json) -> End:
        match reason["type"]:
            case "length":
                return End.LIMIT
            case "stop":
                is_stop_id = reason.get("matched") == self._call.stop_id
                return End.STOP_ID if is_stop_id and self._call.stop_id is not None else End.END
            case other:
                raise Broken(f"ended a completion with {other!r}: {reason.get('message', '')}")
