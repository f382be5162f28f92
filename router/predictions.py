"""The need of a request as a distribution: the classifier's, corrected by what was observed.

Twice: the counts of needs correct the hazards, slowly and for good; the correction of coverage
shifts the curve at the tiers' budgets, at once and within bounds. Both live in Redis and are read
in the background, when they have changed; no request ever waits for Redis.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ponder.changes import read_changes
from ponder.counts import NeedCounts
from ponder.ledger import Ledger, LedgerUnavailable
from router.decisions import Classification, Prediction
from router.queries import Query
from router.survival import SurvivalCurve, median_bin, posterior_hazards
from router.telemetry import Telemetry
from router.tiers import TiersOf

_log = logging.getLogger(__name__)
# Far above what any deployment counts in a day, far below where float64 loses whole numbers.
_MAX_COUNT: Final = 1 << 40
_LONGEST_UNREAD_S: Final = 300.0
"""Then what has not changed is read too: counts fade by themselves, in windows of an hour, and a
Redis that was emptied or restored tells of no change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What is observed together: one tenant's requests to a model, predicted by one classifier."""

    model: str
    version: str
    tenant: str


def segment_of(query: Query, prior: Classification) -> Segment:
    """Where a request belongs that was classified so."""
    return Segment(model=query.model, version=prior.version, tenant=query.tenant.name)


@dataclass(frozen=True, slots=True)
class Counts:
    """Both have shape (NUM_NEED_BINS + 1, NUM_NEED_BINS): a row for each predicted bin."""

    events: NDArray[np.int64]
    at_risk: NDArray[np.int64]

    @classmethod
    def checked(cls, counts: NeedCounts) -> tuple["Counts", int]:
        """Counts in which every cell can be right, and how many cells were left out as 0 of 0."""
        events = np.array(counts.events, dtype=object)
        at_risk = np.array(counts.at_risk, dtype=object)
        valid = (events >= 0) & (events <= at_risk) & (at_risk <= _MAX_COUNT)
        kept = (np.where(valid, table, 0).astype(np.int64) for table in (events, at_risk))
        return cls(*kept), int(valid.size - np.count_nonzero(valid))

    def row(self, predicted_bin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Events and at-risk counts of one predicted bin, (NUM_NEED_BINS,) each."""
        return self.events[predicted_bin], self.at_risk[predicted_bin]


class Predictions:
    """Holds the last counts and corrections that were read, per segment.

    A cell without observations keeps the classifier's hazard, and so does every cell when nothing
    was ever read: with few observations the prior weight keeps the estimate close to it.
    """

    def __init__(
        self,
        ledger: Ledger,
        prior_weight: float,
        telemetry: Telemetry,
        tiers_of: TiersOf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`tiers_of` gives a model's tiers, whose budgets the corrections are for. `clock` gives
        unix time: the ledger's windows are named by it.
        """
        self._ledger = ledger
        self._prior_weight = prior_weight
        self._telemetry = telemetry
        self._tiers_of = tiers_of
        self._clock = clock
        self._observed: dict[Segment, _Observed] = {}
        self._changed: set[Segment] = set()
        self._looked: dict[str, _Looked] = {}

    def predict(self, segment: Segment, prior: Classification) -> Prediction:
        """`segment.version` is that of the classification."""
        predicted_bin = median_bin(prior.hazards)
        curve = SurvivalCurve.from_hazards(prior.hazards)
        if observed := self._observed.get(segment):
            events, at_risk = observed.counts.row(predicted_bin)
            hazards = posterior_hazards(prior.hazards, events, at_risk, self._prior_weight)
            budgets = self._tiers_of(segment.model).budgets
            curve = SurvivalCurve.from_hazards(hazards).corrected(budgets, observed.shifts)
        return Prediction(curve=curve, predicted_bin=predicted_bin, prior=prior)

    def staleness(self, segment: Segment) -> str:
        """Why the counts of this segment are not fresh; empty when they are."""
        observed = self._observed.get(segment)
        if observed is None:
            return "observed counts: none read from Redis yet"
        if observed.is_fresh:
            return ""
        age_s = self._clock() - observed.read_at_s
        return f"observed counts: not readable in Redis, last read {age_s:.0f} s ago"

    async def run(
        self,
        segments: Callable[[], Iterable[Segment]],
        interval_s: float,
    ) -> None:
        """Reads what was observed of every segment, again and again, until cancelled."""
        while True:
            await self.refresh(segments())
            await asyncio.sleep(interval_s)

    async def refresh(self, segments: Iterable[Segment]) -> None:
        """One round: reads what has changed, and what was not read for long. Where Redis gives
        nothing the old counts stand.
        """
        for model, group in _by_model(segments).items():
            try:
                await self._look_for_changes(model)
            except LedgerUnavailable as error:
                for segment in group:
                    self._mark_stale(segment, error)
                continue
            for segment in filter(self._is_due, group):
                await self._refresh(segment)

    async def _look_for_changes(self, model: str) -> None:
        looked = self._looked.get(model, _Looked(0.0, 0.0))
        changes = await read_changes(self._ledger, model, looked.until_ms)
        self._looked[model] = _Looked(changes.until_ms, self._clock())
        for version, tenant in changes.segments:
            segment = Segment(model=model, version=version, tenant=tenant)
            if segment in self._observed:  # else it is due anyway, once it is asked for
                self._changed.add(segment)

    def _is_due(self, segment: Segment) -> bool:
        observed = self._observed.get(segment)
        if observed is None or not observed.is_fresh or segment in self._changed:
            return True
        return abs(self._clock() - observed.read_at_s) >= _LONGEST_UNREAD_S

    async def _refresh(self, segment: Segment) -> None:
        # First: what changes while it is being read is read again.
        self._changed.discard(segment)
        try:
            self._observed[segment] = await self._read(segment)
        except LedgerUnavailable as error:
            self._mark_stale(segment, error)

    def _mark_stale(self, segment: Segment, error: LedgerUnavailable) -> None:
        observed = self._observed.get(segment)
        if observed and observed.is_fresh:
            _log.warning("predictions of %s keep their last counts: %s", segment, error)
            # Until then it would have been told of a change.
            read_at_s = max(observed.read_at_s, self._looked[segment.model].at_s)
            self._observed[segment] = replace(observed, is_fresh=False, read_at_s=read_at_s)

    async def _read(self, segment: Segment) -> "_Observed":
        model, version, tenant = segment.model, segment.version, segment.tenant
        now_s = self._clock()
        found = await self._ledger.read_counts(model, version, now_s, tenant)
        counts, num_rejected = Counts.checked(found)
        corrections = await self._ledger.read_corrections(model, version, tenant)
        if num_rejected := num_rejected + corrections.num_rejected:
            self._telemetry.count_rejected(num_rejected)
        return _Observed(counts, corrections.shifts, now_s, True)


def _by_model(segments: Iterable[Segment]) -> dict[str, list[Segment]]:
    groups: dict[str, list[Segment]] = {}
    for segment in segments:
        groups.setdefault(segment.model, []).append(segment)
    return groups


@dataclass(frozen=True, slots=True)
class _Looked:
    """How far the changes of a model are known, in ms of Redis, and when they were asked for."""

    until_ms: float
    at_s: float


@dataclass(frozen=True, slots=True)
class _Observed:
    """What was read last, and whether a later reading failed."""

    counts: Counts
    shifts: tuple[float, ...]
    read_at_s: float
    is_fresh: bool
