"""Traces as training data: what was asked (features), and how much thinking it took.

A row is right-censored where the budget cut it; ponder.bins says what that leaves known. Rows need
no reweighting for the tier they were given: the budget was chosen from the features, and given the
features it tells nothing more about the need.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from classifier.errors import DatasetError
from classifier.features import NUM_FEATURES, vectorize
from ponder.bins import NUM_NEED_BINS, horizon_tokens, need_vectors, stopped_by_itself
from ponder.v1.budget_pb2 import ThinkingStop

SPLITS: Final = ("train", "validation", "test")
_CHUNK_ROWS: Final = 1_000
_SPLIT_ENDS: Final = (60, 75, 100)  # per cent


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One finished request: the ids of its prompt and what it spent."""

    ids: tuple[int, ...]
    thinking_tokens: int
    budget_tokens: int
    stop: ThinkingStop.ValueType
    family: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Outcomes as arrays; every array has one entry per outcome."""

    features: NDArray[np.float32]  # (num_rows, NUM_FEATURES)
    events: NDArray[np.bool_]  # (num_rows, NUM_NEED_BINS)
    at_risk: NDArray[np.bool_]  # (num_rows, NUM_NEED_BINS)
    thinking_tokens: NDArray[np.int64]
    budget_tokens: NDArray[np.int64]
    horizon_tokens: NDArray[np.int64]  # whether the need is above is known up to here
    need_known: NDArray[np.bool_]  # stopped by itself: thinking_tokens is the need
    families: NDArray[np.str_]
    splits: NDArray[np.str_]

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Raises DatasetError when there are none, or when ids belong to another version."""
        chunks = [cls._chunk(rows) for rows in _chunks(outcomes)]
        if not chunks:
            raise DatasetError("no trace is usable: collect some, or check the model name")
        columns = ([getattr(chunk, name) for chunk in chunks] for name in cls.__slots__)
        return cls(**{n: np.concatenate(c) for n, c in zip(cls.__slots__, columns, strict=True)})

    @classmethod
    def _chunk(cls, rows: Sequence[Outcome]) -> Self:
        try:
            features = np.stack([vectorize(row.ids) for row in rows])
        except ValueError as error:
            raise DatasetError(str(error)) from error
        vectors = [need_vectors(row.thinking_tokens, row.budget_tokens, row.stop) for row in rows]
        counts = np.array(vectors, dtype=np.bool_).reshape(-1, 2, NUM_NEED_BINS)
        assert features.shape[1] == NUM_FEATURES
        return cls(
            features=features,
            events=counts[:, 0],
            at_risk=counts[:, 1],
            thinking_tokens=np.array([row.thinking_tokens for row in rows]),
            budget_tokens=np.array([row.budget_tokens for row in rows]),
            horizon_tokens=np.array([_horizon_of(row) for row in rows]),
            need_known=np.array([stopped_by_itself(row.stop) for row in rows]),
            families=np.array([row.family for row in rows]),
            splits=np.array([split_of(row.ids) for row in rows]),
        )

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The rows of a mask, or of indices in their order."""
        return type(self)(**{name: getattr(self, name)[chosen] for name in self.__slots__})

    def split(self, name: str) -> Self:
        """One of SPLITS. Raises DatasetError when no row falls into it."""
        chosen = self.splits == name
        if not chosen.any():
            raise DatasetError(
                f"no row of {len(self)} falls into split {name}: collect more traces"
            )
        return self.rows(chosen)

    def with_outcomes_shuffled(self, seed: int) -> Self:
        """The same features against the outcomes of other rows: a control that cannot learn."""
        order = np.random.default_rng(seed).permutation(len(self))
        shuffled = self.rows(order)
        fields = {name: getattr(shuffled, name) for name in self.__slots__}
        return type(self)(**(fields | {"features": self.features}))


def _horizon_of(row: Outcome) -> int:
    if stopped_by_itself(row.stop):
        return row.budget_tokens
    return horizon_tokens(row.thinking_tokens, row.budget_tokens, row.stop)


def _chunks(outcomes: Iterable[Outcome]) -> Iterator[Sequence[Outcome]]:
    """Outcomes hold their ids as Python integers, several times the size of a row of features."""
    rows = iter(outcomes)
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield chunk


def split_of(ids: tuple[int, ...]) -> str:
    """One of SPLITS by the hash of the ids, so that equal prompts never meet across splits.

    The ids stand for the prompt: traces with and without it fall into the same split.
    """
    digest = hashlib.blake2b(np.array(ids, dtype="<u4").tobytes(), digest_size=4).digest()
    percentile = int.from_bytes(digest, "big") % 100
    return next(name for name, end in zip(SPLITS, _SPLIT_ENDS, strict=True) if percentile < end)
