"""Logged requests as arrays: what was spent, how the budget came about, and when."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from classifier.columns import Outcome
from classifier.dataset import Dataset

MAX_BACKGROUND_ROWS: Final = 20_000
"""Of the rows that classifiers train on, the latest so many serve as background of the checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedOutcome:
    """An outcome, and when it was there."""

    outcome: Outcome
    finished_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRows:
    """Logged outcomes as arrays; every array has one entry per row."""

    data: Dataset
    finished_at_s: NDArray[np.float64]
    prompts: NDArray[np.int64]  # equal where the prompts are

    @classmethod
    def of(cls, rows: Iterable[LoggedOutcome]) -> Self:
        """Raises DatasetError when there are none, or when ids belong to another version."""
        logged = list(rows)
        return cls(
            data=Dataset.of(row.outcome for row in logged),
            finished_at_s=np.array([row.finished_at_s for row in logged], dtype=np.float64),
            prompts=np.array([_hash_of(row.outcome.ids) for row in logged]),
        )

    def __len__(self) -> int:
        return len(self.data)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The rows of a mask, or of indices in their order."""
        names = [field.name for field in fields(self) if field.name != "data"]
        arrays = {name: getattr(self, name)[chosen] for name in names}
        return type(self)(data=self.data.rows(chosen), **arrays)

    def held_out(self, latest_share: float) -> Self:
        """Rows of split test among the latest `latest_share`: no classifier learned from them, and
        none from their time if it was trained on what came before. May be empty.
        """
        return self.rows((self.data.splits == "test") & self._is_among_latest(latest_share))

    def background(self) -> Self:
        """Rows of split train, the latest MAX_BACKGROUND_ROWS. May be empty."""
        chosen = np.flatnonzero(self.data.splits == "train")
        order = np.argsort(self.finished_at_s[chosen], kind="stable")
        return self.rows(chosen[order][-MAX_BACKGROUND_ROWS:])

    def _is_among_latest(self, share: float) -> NDArray[np.bool_]:
        since = np.quantile(self.finished_at_s, 1.0 - share, method="inverted_cdf")
        latest: NDArray[np.bool_] = self.finished_at_s >= since
        return latest


def _hash_of(ids: tuple[int, ...]) -> int:
    return crc32(np.array(ids, dtype="<u4").tobytes())
