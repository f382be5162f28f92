"""Remembers requests that were running on workers which crashed: two are enough, never a third."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from router.errors import Quarantined
from router.queries import Query

MOST_CRASHES: Final = 2
QUARANTINE_S: Final = 600.0
_MOST_REMEMBERED: Final = 10_000


@dataclass(slots=True)
class _Crashes:
    number: int
    last_s: float


class Quarantine:
    """What is told apart is model and text, so that a caller who tries again with another id does
    not crash the next worker. A request that is answered has a clean record again: it was only
    there when something else brought the worker down.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._crashes: OrderedDict[bytes, _Crashes] = OrderedDict()

    def check(self, query: Query) -> None:
        """Raises Quarantined."""
        crashes = self._crashes.get(_key(query))
        if crashes is None or crashes.number < MOST_CRASHES:
            return
        left_s = crashes.last_s + QUARANTINE_S - self._clock()
        if left_s > 0.0:
            raise Quarantined(
                f"{crashes.number} workers crashed while they ran this request; it is not run for "
                f"{QUARANTINE_S / 60:.0f} minutes; send another, and report this one"
            )

    def note_crash(self, query: Query) -> None:
        """A worker that ran it crashed. Raises Quarantined when that was one too many."""
        key, now_s = _key(query), self._clock()
        crashes = self._crashes.pop(key, None)
        if crashes is None or now_s - crashes.last_s >= QUARANTINE_S:
            crashes = _Crashes(0, now_s)
        self._crashes[key] = _Crashes(crashes.number + 1, now_s)
        while len(self._crashes) > _MOST_REMEMBERED:
            self._crashes.popitem(last=False)
        self.check(query)

    def note_answer(self, query: Query) -> None:
        """It ran to its end."""
        self._crashes.pop(_key(query), None)


def _key(query: Query) -> bytes:
    return hashlib.sha256(f"{query.model}\0{query.text}".encode()).digest()
