"""Numbers read from the ledger: what a tenant spent, and how many requests stopped in each bin."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Self

from ponder.bins import NUM_NEED_BINS
from ponder.v1.budget_pb2 import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over settled requests. Device time is whole microseconds, so that sums are exact."""

    requests: int = 0
    prompt_tokens: int = 0
    thinking_tokens: int = 0
    forced_tokens: int = 0
    probe_tokens: int = 0
    answer_tokens: int = 0
    escalations: int = 0
    gpu_microseconds: int = 0

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The contribution of one request."""
        return cls(
            requests=1,
            prompt_tokens=usage.prompt_tokens,
            thinking_tokens=usage.thinking_tokens,
            forced_tokens=usage.forced_tokens,
            probe_tokens=usage.probe_tokens,
            answer_tokens=usage.answer_tokens,
            escalations=usage.escalations,
            gpu_microseconds=round(usage.gpu_seconds * 1e6),
        )

    @classmethod
    def from_hash(cls, found: Mapping[bytes, bytes]) -> Self:
        """Fields that are missing are 0."""
        return cls(**{name.decode(): int(value) for name, value in found.items()})

    def to_hash(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class NeedCounts:
    """Observed needs by predicted bin: row b holds requests whose predicted bin was b.

    Both have shape (NUM_NEED_BINS + 1, NUM_NEED_BINS), and 0 <= events[b][k] <= at_risk[b][k]
    whatever Redis held.
    """

    events: tuple[tuple[int, ...], ...]
    at_risk: tuple[tuple[int, ...], ...]

    @classmethod
    def from_hashes(cls, hashes: Iterable[Mapping[bytes, bytes]]) -> Self:
        """Sum of the hashes; fields that nothing of ours wrote count as nothing."""
        events, at_risk = _zeros(), _zeros()
        tables = {b"n": events, b"r": at_risk}
        for found in hashes:
            for name, value in found.items():
                if entry := _parse(name, value):
                    kind, row, column, count = entry
                    tables[kind][row][column] += count
        pairs = zip(events, at_risk, strict=True)
        capped = (tuple(map(min, row_n, row_r)) for row_n, row_r in pairs)
        return cls(tuple(capped), tuple(map(tuple, at_risk)))


def _zeros() -> list[list[int]]:
    return [[0] * NUM_NEED_BINS for _ in range(NUM_NEED_BINS + 1)]


def _parse(name: bytes, value: bytes) -> tuple[bytes, int, int, int] | None:
    try:
        row, kind, column = name.split(b":")
        entry = kind, int(row), int(column), int(value)
    except ValueError:
        return None
    valid = kind in (b"n", b"r") and 0 <= entry[1] <= NUM_NEED_BINS
    return entry if valid and 0 <= entry[2] < NUM_NEED_BINS and entry[3] > 0 else None
