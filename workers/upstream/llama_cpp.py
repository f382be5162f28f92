"""llama.cpp's /completion, its native endpoint: the one that takes and tells token ids.

A stream of it leaves out tokens whose text is not whole yet, an emoji's first bytes for instance;
only their number shows. They are then asked for again in one reply, which has every token.

Source: llama.cpp, tools/server/README.md.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from workers.upstream.dialects import Call, End, Piece
from workers.upstream.errors import Broken, Garbled, HeldBack
from workers.upstream.odds import Odds
from workers.upstream.wire import Json

_WHOLE_TOKENS: Final = 8
"""The most that is asked for in one reply: a character has at most four bytes."""
_ENDS: Final = {"eos": End.END, "limit": End.LIMIT}


class LlamaCpp:
    """See Dialect."""

    name = "llama.cpp"
    path = "/completion"

    def body(self, call: Call) -> dict[str, Any]:
        """The server's own defaults of sampling are switched off."""
        most = min(call.max_tokens, _WHOLE_TOKENS) if call.is_whole else call.max_tokens
        return {
            "prompt": list(call.prompt_ids),
            "n_predict": most,
            "ignore_eos": call.bans_end,
            "temperature": call.temperature,
            "top_p": call.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "seed": call.seed,
            "logit_bias": [[token, False] for token in call.banned_ids],
            "cache_prompt": True,
            "return_tokens": True,
            # With them come the bytes of each token.
            "n_probs": max(call.num_likely, int(call.is_whole)),
            "stream": not call.is_whole,
        }

    def reader(self, call: Call) -> "StreamReader | WholeReader":
        """See Dialect."""
        return WholeReader(call) if call.is_whole else StreamReader(call)


class StreamReader:
    """Keeps the newest token back until the next event: it may be the end of the sequence."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._num_sampled = 0
        self._newest: Piece | None = None

    def read(self, event: Json) -> Iterator[Piece | End]:
        """See Reader."""
        ids = tuple(event["tokens"])
        self._num_sampled += len(ids)
        is_complete = self._num_sampled == event["tokens_predicted"]
        end = _end_of(event) if event["stop"] else None
        if self._newest is not None and not (is_complete and end is End.END):
            yield self._newest
        odds = _odds(event) if ids and self._call.num_likely else ()
        self._newest = Piece(ids, event["content"], odds) if ids else None
        if not is_complete:
            raise HeldBack("did not send every token")
        if self._call.stop_id in ids:
            yield End.STOP_ID
        elif end is not None:
            if self._newest is not None:
                yield self._newest
            yield end


class WholeReader:
    """One reply with every token. What does not end in a whole character is left for the next."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def read(self, event: Json) -> Iterator[Piece | End]:
        """See Reader."""
        ids, end = tuple(event["tokens"]), _end_of(event)
        if len(ids) != event["tokens_predicted"]:
            raise Garbled(
                f"says that it sampled {event['tokens_predicted']} tokens and sent {len(ids)}"
            )
        pieces = [bytes(token["bytes"]) for token in event["completion_probabilities"]]
        if end is End.END:
            ids, pieces = ids[:-1], pieces[:-1]
        if self._call.stop_id in ids:
            place = ids.index(self._call.stop_id)
            ids, pieces, end = ids[:place], pieces[:place], End.STOP_ID
        num_kept = len(ids) if end is not End.LIMIT else _num_whole(pieces)
        if num_kept:
            text = b"".join(pieces[:num_kept]).decode("utf-8", "replace")
            yield Piece(ids[:num_kept], text)
        yield end


def _odds(event: Json) -> tuple[Odds, ...]:
    told = event["completion_probabilities"]
    return tuple(
        Odds.of(token["logprob"], [likely["logprob"] for likely in token["top_logprobs"]])
        for token in told
    )


def _end_of(event: Json) -> End:
    kind = event.get("stop_type")
    if kind not in _ENDS:
        raise Broken(f"ended a completion with {kind!r}")
    return _ENDS[kind]


def _num_whole(pieces: Sequence[bytes]) -> int:
    """How many of the tokens end in a whole character; all of them when none does."""
    for count in range(len(pieces), 0, -1):
        try:
            b"".join(pieces[:count]).decode("utf-8")
        except UnicodeDecodeError:
            continue
        return count
    return len(pieces)
