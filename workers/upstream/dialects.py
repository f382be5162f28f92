"""What a server is asked and how its stream is read: one dialect per kind of server.

All take prompts as token ids and tell the ids of what they sample: nothing is counted by text.
The chat endpoints are not used: they take no token ids, so that thinking could neither be resumed
nor counted, and split it from the answer in ways that differ (reasoning_content, <think> in
content).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from workers.upstream.odds import Odds
from workers.upstream.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Sample up to `max_tokens` after `prompt_ids`. Temperature 0 is greedy.

    `stop_id` ends it and is no part of it; `banned_ids` are never sampled, nor is an end of
    sequence when `bans_end`. `is_whole`: one reply at the end instead of a stream. With
    `num_likely` the odds of each token are told, from so many most likely ones.
    """

    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop_id: int | None = None
    banned_ids: tuple[int, ...] = ()
    bans_end: bool = False
    is_whole: bool = False
    num_likely: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens in the order they were sampled, and the text that is whole with them.

    `odds`: one per token, none where they were not asked for.
    """

    ids: tuple[int, ...]
    text: str
    odds: tuple[Odds, ...] = ()


class End(Enum):
    """Why a call ended."""

    LIMIT = "limit"  # max_tokens
    STOP_ID = "stop_id"
    END = "end"  # the end of the sequence


class Reader(Protocol):
    """Reads the events of one call in order; ends with one End.

    Raises Broken, Garbled or HeldBack, and errors of lookup or type where an event lacks something.
    """

    def read(self, event: Json) -> Iterator[Piece | End]: ...


class Dialect(Protocol):
    """How one kind of server is spoken to."""

    name: str
    path: str

    def body(self, call: Call) -> dict[str, Any]: ...

    def reader(self, call: Call) -> Reader: ...
