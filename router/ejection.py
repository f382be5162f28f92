"""Takes workers out for a while that are much slower than the rest of their pool.

Pure: no I/O, and the time comes from outside. The model is Envoy's outlier detection: who stands
out long enough is ejected, each time for longer, never more than a share of the pool; it comes back
with its next requests on trial.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final, Generic, TypeVar

SLOW_FACTOR: Final = 3.0
SLOW_FOR_S: Final = 5.0
EJECTION_S: Final = 30.0
"""Of the first ejection; the nth is n times as long, up to the longest."""
LONGEST_EJECTION_S: Final = 300.0
LARGEST_SHARE: Final = 1 / 3
"""Of a pool; one of two or more workers may always be ejected."""

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a worker measures of itself. `token_ms` is the time per token of one sequence, 0 until
    measured; `batch_size` sequences share a step; `is_busy`: something runs, so the pace is new.
    """

    token_ms: float
    batch_size: float
    is_busy: bool


@dataclass(slots=True)
class _Record:
    """`changed_at_s`: when `times` last rose or fell."""

    slow_since_s: float | None = None
    ejected_until_s: float = 0.0
    times: int = 0
    changed_at_s: float = 0.0


class Ejections(Generic[K]):
    """Of one pool; workers are told apart by any key."""

    def __init__(self) -> None:
        self._records: dict[K, _Record] = {}

    def update(self, paces: Mapping[K, Pace], now_s: float) -> frozenset[K]:
        """Judges the live workers, and returns those that are ejected now."""
        self._forget(paces.keys(), now_s)
        for key, pace in paces.items():
            record = self._records.setdefault(key, _Record())
            rest = [
                paces[other] for other in paces if other != key and not self._is_out(other, now_s)
            ]
            self._judge(record, is_slow=is_outlier(pace, rest), is_busy=pace.is_busy, now_s=now_s)
        most = max(1, int(LARGEST_SHARE * len(paces))) if len(paces) > 1 else 0
        for key in sorted(paces, key=lambda key: -paces[key].token_ms):
            if sum(self._is_out(other, now_s) for other in paces) < most:
                self._eject_if_slow(self._records[key], now_s)
        return frozenset(key for key in paces if self._is_out(key, now_s))

    def _judge(self, record: _Record, *, is_slow: bool, is_busy: bool, now_s: float) -> None:
        if record.ejected_until_s > now_s or not is_slow:
            record.slow_since_s = None
        elif record.slow_since_s is None:
            record.slow_since_s = now_s
        recovers_at_s = max(record.changed_at_s, record.ejected_until_s) + EJECTION_S
        if record.times and is_busy and not is_slow and now_s >= recovers_at_s:
            record.times -= 1
            record.changed_at_s = now_s

    def _eject_if_slow(self, record: _Record, now_s: float) -> None:
        if record.slow_since_s is None or now_s - record.slow_since_s < SLOW_FOR_S:
            return
        record.times += 1
        record.changed_at_s = now_s
        record.slow_since_s = None
        record.ejected_until_s = now_s + min(record.times * EJECTION_S, LONGEST_EJECTION_S)

    def _is_out(self, key: K, now_s: float) -> bool:
        record = self._records.get(key)
        return record is not None and record.ejected_until_s > now_s

    def _forget(self, live: Iterable[K], now_s: float) -> None:
        """A worker that is lost for a moment does not come back with a clean record."""
        gone = self._records.keys() - set(live)
        for key in gone:
            if not self._is_out(key, now_s):
                del self._records[key]


def is_outlier(pace: Pace, rest: Iterable[Pace]) -> bool:
    """Whether a busy worker takes much more time per token than the median of the rest.

    A batch that is larger than theirs may take as many times as long.
    """
    measured = [other for other in rest if other.token_ms > 0.0]
    if not measured or not pace.is_busy:
        return False
    usual_batch = max(1.0, median(other.batch_size for other in measured))
    allowance = max(1.0, pace.batch_size / usual_batch)
    return pace.token_ms > SLOW_FACTOR * allowance * median(other.token_ms for other in measured)
