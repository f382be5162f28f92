"""The need of a request as a distribution: the classifier's, corrected by what was observed.

Observed counts live in Redis and are read in the background; no request ever waits for Redis.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ponder.counts import NeedCounts
from ponder.ledger import Ledger, LedgerUnavailable
from router.decisions import Classification, Prediction
from router.survival import SurvivalCurve, median_bin, posterior_hazards
from router.telemetry import Telemetry

_log = logging.getLogger(__name__)
# Far above what any deployment counts in a day, far below where float64 loses whole numbers.
_MAX_COUNT: Final = 1 << 40
Segment = tuple[str, str]


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
    """Holds the last counts that were read, per model and tenant.

    A cell without observations keeps the classifier's hazard, and so does every cell when nothing
    was ever read: with few observations the prior weight keeps the estimate close to it.
    """

    def __init__(
        self,
        ledger: Ledger,
        prior_weight: float,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives unix time: the ledger's windows are named by it."""
        self._ledger = ledger
        self._prior_weight = prior_weight
        self._telemetry = telemetry
        self._clock = clock
        self._observed: dict[Segment, _Observed] = {}

    def predict(self, segment: Segment, prior: Classification) -> Prediction:
        """`segment` is (model, tenant)."""
        predicted_bin = median_bin(prior.hazards)
        hazards = prior.hazards
        if observed := self._observed.get(segment):
            events, at_risk = observed.counts.row(predicted_bin)
            hazards = posterior_hazards(hazards, events, at_risk, self._prior_weight)
        return Prediction(
            curve=SurvivalCurve.from_hazards(hazards), predicted_bin=predicted_bin, prior=prior
        )

    def staleness(self, segment: Segment) -> str:
        """Why the counts of this model and tenant are not fresh; empty when they are."""
        observed = self._observed.get(segment)
        if observed is None:
            return "observed counts: none read from Redis yet"
        if observed.is_fresh:
            return ""
        age_s = self._clock() - observed.read_at_s
        return f"observed counts: not readable in Redis, last read {age_s:.0f} s ago"

    async def run(
        self,
        models: Callable[[], Sequence[str]],
        tenants: Sequence[str],
        interval_s: float,
    ) -> None:
        """Reads the counts of every model and tenant, again and again, until cancelled."""
        while True:
            await self.refresh((model, tenant) for model in models() for tenant in tenants)
            await asyncio.sleep(interval_s)

    async def refresh(self, segments: Iterable[Segment]) -> None:
        """One round. Where Redis gives nothing the old counts stand."""
        for segment in segments:
            model, tenant = segment
            now_s = self._clock()
            try:
                counts = await self._ledger.read_counts(model, now_s, tenant)
                self._observed[segment] = _Observed(self._check(counts), now_s, True)
            except LedgerUnavailable as error:
                self._mark_stale(segment, error)

    def _mark_stale(self, segment: Segment, error: LedgerUnavailable) -> None:
        observed = self._observed.get(segment)
        if observed and observed.is_fresh:
            _log.warning("predictions of %s keep their last counts: %s", segment, error)
            self._observed[segment] = replace(observed, is_fresh=False)

    def _check(self, counts: NeedCounts) -> Counts:
        checked, num_rejected = Counts.checked(counts)
        if num_rejected:
            self._telemetry.count_rejected(num_rejected)
        return checked


@dataclass(frozen=True, slots=True)
class _Observed:
    """The last counts that were read, and whether a later reading failed."""

    counts: Counts
    read_at_s: float
    is_fresh: bool
