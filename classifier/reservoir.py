"""A bounded sample of a stream of traces, from which one trains as from all of them.

Training rows are kept by how far they got: as many of each group, by the number of bins that a row
was at risk in, so that the few that think longest are all there. A row then weighs as much as the
rows of its group that it stands for, which makes sums over the sample unbiased. Validation and test
rows are kept evenly. Source of the estimate: D. G. Horvitz and D. J. Thompson (1952), "A
Generalization of Sampling Without Replacement from a Finite Universe"; of keeping those with the
smallest random keys: J. S. Vitter (1985), "Random Sampling with a Reservoir", in spirit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.columns import SPLITS, Columns
from ponder.bins import NUM_NEED_BINS

_NUM_GROUPS: Final = NUM_NEED_BINS + 1
_THINNED_AT: Final = 1.5
"""Thinned when so many times the rows that may stay are held."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`splits` are indices into SPLITS, `weights` have mean 1 in each; (num_rows,) both."""

    rows: Columns
    splits: NDArray[np.int64]
    weights: NDArray[np.float64]


class Reservoir:
    """Takes chunks, gives a Sample. Equal streams and seeds give equal samples."""

    def __init__(self, max_rows: tuple[int, int, int], seed: int = 0) -> None:
        """Most rows to keep of each of SPLITS."""
        self._max_rows = max_rows
        self._rng = np.random.default_rng(seed)
        self._parts: list[tuple[Columns, NDArray[np.int64], NDArray[np.float64]]] = []
        self._num_held = 0
        self._num_seen = np.zeros(len(SPLITS) * _NUM_GROUPS, dtype=np.int64)
        self._highest_keys = np.ones(len(self._num_seen))

    def add(self, chunk: Columns) -> None:
        """Rows of a later chunk count as much as those of an earlier one."""
        splits = chunk.splits()
        depth = chunk.need_vectors()[1].sum(axis=1)
        groups = splits * _NUM_GROUPS + np.where(splits == 0, depth, 0)
        self._num_seen += np.bincount(groups, minlength=len(self._num_seen))
        keys = self._rng.random(len(chunk))
        kept = np.flatnonzero(keys <= self._highest_keys[groups])
        rows = chunk if len(kept) == len(chunk) else chunk.rows(kept)
        self._parts.append((rows, groups[kept], keys[kept]))
        self._num_held += len(kept)
        if self._num_held > _THINNED_AT * sum(self._max_rows):
            self._thin()

    def sample(self) -> Sample:
        """What was kept, grouped by split if anything was left out, else in the order it came."""
        if self._num_seen.sum() == 0:
            nothing = Columns.of([])
            return Sample(nothing, np.zeros(0, dtype=np.int64), np.zeros(0))
        self._thin()
        ((rows, groups, _),) = self._parts
        splits = groups // _NUM_GROUPS
        kept = np.bincount(groups, minlength=len(self._num_seen))
        weights = self._num_seen[groups] / kept[groups]
        for split in np.unique(splits):
            weights[splits == split] /= weights[splits == split].mean()
        if kept.sum() < self._num_seen.sum():
            order = np.argsort(splits, kind="stable")
            rows, splits, weights = rows.rows(order), splits[order], weights[order]
        return Sample(rows, splits, weights)

    def _thin(self) -> None:
        rows = Columns.joined([part[0] for part in self._parts])
        groups, keys = (np.concatenate([part[k] for part in self._parts]) for k in (1, 2))
        order = np.lexsort((keys, groups))
        held = np.bincount(groups, minlength=len(self._num_seen))
        ranks = np.arange(len(groups)) - np.repeat(np.cumsum(held) - held, held)
        most = np.repeat(self._most_by_group(held), held)
        dropped = order[ranks >= most]
        np.minimum.at(self._highest_keys, groups[dropped], keys[dropped])
        kept = np.setdiff1d(np.arange(len(groups)), dropped, assume_unique=True)
        self._parts = [(rows.rows(kept), groups[kept], keys[kept])]
        self._num_held = len(kept)

    def _most_by_group(self, held: NDArray[np.int64]) -> NDArray[np.int64]:
        """So many that the groups of a split together do not exceed what it may keep."""
        by_split = held.reshape(len(SPLITS), -1)
        return np.concatenate(
            [_shares(*pair) for pair in zip(by_split, self._max_rows, strict=True)]
        )


def _shares(held: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Equal shares of `most` for all groups, of which small groups leave theirs to others."""
    shares = np.zeros_like(held)
    order = np.argsort(held, kind="stable")
    for position, group in enumerate(order):
        shares[group] = min(held[group], most // (len(order) - position))
        most -= shares[group]
    return shares
