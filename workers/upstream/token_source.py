"""One completion over as many calls as it takes: each token that came is counted once.

A call that breaks is followed by one that continues after the tokens received; those that the
server sampled and never delivered are not counted.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from workers.engine import EngineStopped, InvalidRequest, QueueFull, RequestFailed
from workers.upstream.dialects import Call, Dialect, End, Piece, Reader
from workers.upstream.errors import Broken, Busy, Garbled, HeldBack, Refused, UpstreamTrouble
from workers.upstream.wire import Json, Wire

_log = logging.getLogger(__name__)

_MOST_TRIES: Final = 4  # without a new token
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 10.0
_SEED_STEP: Final = 0x9E37_79B1  # so that seeds of neighbours are far apart
_SEED_RANGE: Final = 1 << 31

Sleep = Callable[[float], Awaitable[None]]


class TokenSource:
    """Samples from one server."""

    def __init__(self, wire: Wire, dialect: Dialect, sleep: Sleep = asyncio.sleep) -> None:
        self._wire = wire
        self._dialect = dialect
        self._sleep = sleep

    async def sample(self, call: Call) -> AsyncGenerator[Piece | End, None]:
        """Pieces of at most `max_tokens` together, then an End.

        Raises InvalidRequest when the server refuses the call, QueueFull when it stays busy,
        RequestFailed when its replies stay broken, EngineStopped when it is not well.
        """
        taken: list[int] = []
        is_whole, num_failed = False, 0
        while len(taken) < call.max_tokens:
            rest = _after(call, taken, is_whole)
            is_whole = False
            try:
                async with aclosing(self.once(rest)) as items:
                    async for item in items:
                        if isinstance(item, Piece):
                            taken += item.ids
                            num_failed = 0
                        yield item
                        if isinstance(item, End):
                            return
            except HeldBack:
                is_whole = True
            except Refused as error:
                raise InvalidRequest(f"the upstream refused it: {error}") from error
            except UpstreamTrouble as error:
                if len(taken) == call.max_tokens:
                    break
                num_failed += 1
                await self._pause(error, num_failed)
        yield End.LIMIT

    async def once(self, call: Call) -> AsyncGenerator[Piece | End, None]:
        """One call; without an End when more is to be asked for, or none is known of.

        Raises UpstreamTrouble.
        """
        reader, room = self._dialect.reader(call), call.max_tokens
        async with aclosing(self._wire.events(self._dialect.path, self._dialect.body(call))) as got:
            async for event in got:
                for item in read_event(reader, event):
                    if isinstance(item, End):
                        if item is not End.LIMIT or not room:
                            yield item
                        elif not call.is_whole:
                            raise Garbled(f"ended {room} tokens before its limit")
                        return
                    if len(item.ids) > room:  # whatever the server does, the limit holds
                        raise Garbled(f"sent more than the {call.max_tokens} tokens asked for")
                    if call.num_likely and len(item.odds) != len(item.ids):
                        raise Garbled("sent tokens without their log-probabilities")
                    room -= len(item.ids)
                    yield item
        raise Broken("the stream ended before the completion did")

    async def _pause(self, error: UpstreamTrouble, num_failed: int) -> None:
        if num_failed >= _MOST_TRIES:
            raise _final(error) from error
        pause_s = _FIRST_PAUSE_S * 2 ** (num_failed - 1)
        if isinstance(error, Busy):
            pause_s = max(pause_s, error.retry_after_s)
        _log.warning("the upstream: %s; asking again in %.2f s", error, pause_s)
        await self._sleep(min(pause_s, _LONGEST_PAUSE_S))


def _after(call: Call, taken: Sequence[int], is_whole: bool) -> Call:
    """The rest of a call. Its seed depends on the place, so that no two stretches draw alike."""
    prompt_ids = (*call.prompt_ids, *taken)
    return replace(
        call,
        prompt_ids=prompt_ids,
        max_tokens=call.max_tokens - len(taken),
        seed=(call.seed + len(prompt_ids) * _SEED_STEP) % _SEED_RANGE,
        is_whole=is_whole,
    )


def read_event(reader: Reader, event: Json) -> Iterator[Piece | End]:
    """What an event says. Raises Broken, Garbled or HeldBack."""
    try:
        yield from reader.read(event)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Garbled(f"sent an event that cannot be read: {error!r}") from error


def _final(error: UpstreamTrouble) -> Exception:
    """What becomes of a request that no repetition helped."""
    match error:
        case Busy():
            return QueueFull(f"the upstream is busy: {error}")
        case Garbled():
            return RequestFailed(f"the upstream's replies cannot be used: {error}")
        case _:
            return EngineStopped(f"the upstream does not go on: {error}")
