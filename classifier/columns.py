"""Outcomes of many requests as arrays, the form in which traces are read, sampled and labelled."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.decisions import NUM_TIERS, UNKNOWN_TIER, Decision
from ponder.bins import MAX_CUT_GRACE_TOKENS, NEED_BIN_EDGES, NUM_NEED_BINS, SELF_STOPS
from ponder.v1 import budget_pb2
from ponder.v1.budget_pb2 import ThinkingStop

SPLITS: Final = ("train", "validation", "test")
_SPLIT_ENDS: Final = (60, 75, 100)  # per cent
_SPLIT_OF_PERCENTILE: Final = np.repeat(np.arange(3), np.diff((0, *_SPLIT_ENDS)))
_EDGES: Final = np.array(NEED_BIN_EDGES)
_CHUNK_ROWS: Final = 1_000
_SHOWN_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One finished request: the ids of its prompt and what it spent.

    Without a `decision` the budget was fixed beforehand. `prompt`, where it is known, is shown in
    reports, no more.
    """

    ids: tuple[int, ...]
    thinking_tokens: int
    budget_tokens: int
    stop: ThinkingStop.ValueType
    family: str
    decision: Decision | None = None
    prompt: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Row i has the ids values[offsets[i] : offsets[i + 1]]; the others have an entry per row."""

    values: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64]
    budget_tokens: NDArray[np.int64]
    stops: NDArray[np.int64]
    families: NDArray[np.object_]
    first_tiers: NDArray[np.int64]  # see Decision; UNKNOWN_TIER without one
    reached_tiers: NDArray[np.int64]
    propensities: NDArray[np.float64]  # (num_rows, NUM_TIERS)
    is_automatic: NDArray[np.bool_]
    tenants: NDArray[np.object_]
    prompts: NDArray[np.object_]  # their beginning; empty where it is not known

    @classmethod
    def of(cls, rows: Sequence[Outcome]) -> Self:
        """Raises ValueError for ids that do not fit into 32 bits."""
        try:
            values = np.array([value for row in rows for value in row.ids], dtype=np.uint32)
        except OverflowError as error:
            raise ValueError("features hold an id that does not fit into 32 bits") from error
        return cls(
            values=values,
            offsets=np.cumsum([0, *(len(row.ids) for row in rows)]),
            thinking_tokens=np.array([row.thinking_tokens for row in rows], dtype=np.int64),
            budget_tokens=np.array([row.budget_tokens for row in rows], dtype=np.int64),
            stops=np.array([row.stop for row in rows], dtype=np.int64),
            families=np.array([row.family for row in rows], dtype=object),
            prompts=np.array([shown(row.prompt) for row in rows], dtype=object),
            **_decisions([row.decision for row in rows]),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The rows of all, in their order."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        names = [name for name in cls.__slots__ if name != "offsets"]
        arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
        return cls(offsets=np.concatenate([[0], np.cumsum(lengths)]), **arrays)

    def __len__(self) -> int:
        return len(self.stops)

    def rows(self, chosen: NDArray[np.int64]) -> Self:
        """Copies of the rows, in the order of their indices."""
        lengths = np.diff(self.offsets)[chosen]
        ends = np.cumsum(lengths)
        positions = np.repeat(self.offsets[:-1][chosen] - (ends - lengths), lengths)
        positions += np.arange(len(positions))
        names = [name for name in self.__slots__ if name not in ("values", "offsets")]
        return type(self)(
            values=self.values[positions],
            offsets=np.concatenate([[0], ends]),
            **{name: getattr(self, name)[chosen] for name in names},
        )

    def splits(self) -> NDArray[np.int64]:
        """Index into SPLITS of each row, by the hash of its ids: equal prompts never meet across
        splits.

        The ids stand for the prompt: traces with and without it fall into the same split.
        """
        data = np.ascontiguousarray(self.values, dtype="<u4").view(np.uint8).data
        ends = (4 * self.offsets).tolist()
        digests = b"".join(
            hashlib.blake2b(data[begin:end], digest_size=4).digest()
            for begin, end in pairwise(ends)
        )
        found: NDArray[np.int64] = _SPLIT_OF_PERCENTILE[np.frombuffer(digests, dtype=">u4") % 100]
        return found

    def stopped_by_itself(self) -> NDArray[np.bool_]:
        """As ponder.bins says it of one."""
        return np.isin(self.stops, list(SELF_STOPS))

    def horizon_tokens(self) -> NDArray[np.int64]:
        """Up to here it is known of each row whether its need is above: its budget, unless it was
        cut before.
        """
        grace = np.minimum(MAX_CUT_GRACE_TOKENS, self.budget_tokens // 10)
        is_whole = self.thinking_tokens >= self.budget_tokens - grace
        is_exhausted = (self.stops == budget_pb2.THINKING_STOP_EXHAUSTED) & is_whole
        is_covered = self.stopped_by_itself() | is_exhausted
        return np.where(is_covered, self.budget_tokens, self.thinking_tokens)

    def need_vectors(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """`need_vectors` of ponder.bins for every row: events and at-risk flags."""
        known = self.stopped_by_itself()
        need_bins = np.searchsorted(_EDGES, self.thinking_tokens)
        num_within = np.searchsorted(_EDGES, self.budget_tokens, side="right")
        num_survived = np.searchsorted(_EDGES, self.horizon_tokens(), side="right")
        num_at_risk = np.where(known, np.minimum(need_bins + 1, num_within), num_survived)
        bins = np.arange(NUM_NEED_BINS)
        events = (need_bins[:, np.newaxis] == bins) & (known & (need_bins < num_within))[:, None]
        return events, bins < num_at_risk[:, np.newaxis]


def shown(prompt: str | None) -> str:
    """As much of a prompt as a report shows."""
    return prompt[:_SHOWN_CHARACTERS] if prompt else ""


def _decisions(rows: Sequence[Decision | None]) -> dict[str, NDArray[Any]]:
    unlikely = (0.0,) * NUM_TIERS
    propensities = [d.certain_or_logged() if d else unlikely for d in rows]
    return {
        "first_tiers": np.array([d.first_tier if d else UNKNOWN_TIER for d in rows], np.int64),
        "reached_tiers": np.array([d.reached_tier if d else UNKNOWN_TIER for d in rows], np.int64),
        "propensities": np.array(propensities, dtype=np.float64).reshape(-1, NUM_TIERS),
        "is_automatic": np.array([d is not None and d.is_automatic for d in rows], np.bool_),
        "tenants": np.array([d.tenant if d else "" for d in rows], dtype=object),
    }


def in_columns(outcomes: Iterable[Outcome]) -> Iterator[Columns]:
    """The outcomes a chunk at a time. Raises ValueError."""
    rows = iter(outcomes)
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield Columns.of(chunk)
