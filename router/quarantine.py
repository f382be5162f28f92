"""Remembers requests that were running on two workers which crashed: they get no third one."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from router.errors import Quarantined
from router.queries import Query

MOST_CRASHES: Final = 2
"""Of workers, one after the other, that ran one and the same request. Crashes of several requests
with the same text are not added up: a worker that dies takes all that it runs with it."""

QUARANTINE_S: Final = 600.0
_MOST_REMEMBERED: Final = 10_000


class Quarantine:
    """What is told apart is model and text, so that a caller who tries again with another id does
    not crash the next worker. An answer to the same text ends it: then something else had brought
    the workers down.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: OrderedDict[bytes, float] = OrderedDict()

    def check(self, query: Query) -> None:
        """Raises Quarantined."""
        if self._until_s.get(_key(query), 0.0) > self._clock():
            raise Quarantined(
                f"{MOST_CRASHES} workers crashed while they ran this request; it is not run for "
                f"{QUARANTINE_S / 60:.0f} minutes; send another, and report this one"
            )

    def note_crashes(self, query: Query, number: int) -> None:
        """So many workers crashed under this request. Raises Quarantined when that is enough."""
        if number < MOST_CRASHES:
            return
        self._until_s[_key(query)] = self._clock() + QUARANTINE_S
        self._until_s.move_to_end(_key(query))
        while len(self._until_s) > _MOST_REMEMBERED:
            self._until_s.popitem(last=False)
        self.check(query)

    def note_answer(self, query: Query) -> None:
        """It ran to its end."""
        self._until_s.pop(_key(query), None)


def _key(query: Query) -> bytes:
    return hashlib.sha256(f"{query.model}\0{query.text}".encode()).digest()
