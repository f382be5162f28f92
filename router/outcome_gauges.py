"""Shows in metrics how often first budgets suffice, and how that compares with the promise."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from ponder.ledger import Ledger, LedgerUnavailable
from ponder.outcomes import Outcomes, TierOutcomes
from ponder.v1.budget_pb2 import Tier
from router.predictions import Segment
from router.telemetry import Telemetry

_log = logging.getLogger(__name__)


class OutcomeGauges:
    """Reads the outcomes of all tenants together, in the background."""

    def __init__(
        self, ledger: Ledger, telemetry: Telemetry, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` gives unix time."""
        self._ledger = ledger
        self._telemetry = telemetry
        self._clock = clock
        self._last: dict[tuple[str, str], Outcomes] = {}

    def of(self, model: str, versions: Iterable[str], tier: Tier.ValueType) -> TierOutcomes:
        """Those of all these versions, as they were read last."""
        known = [self._last[key] for v in versions if (key := (model, v)) in self._last]
        return TierOutcomes.sum(outcomes.tiers[tier] for outcomes in known)

    async def run(self, segments: Callable[[], Iterable[Segment]], interval_s: float) -> None:
        """Again and again, until cancelled."""
        while True:
            await self.refresh(segments())
            await asyncio.sleep(interval_s)

    async def refresh(self, segments: Iterable[Segment]) -> None:
        """One round, once per model and version. Where Redis gives nothing the gauges stand."""
        for model, version in dict.fromkeys((of.model, of.version) for of in segments):
            try:
                outcomes = await self._ledger.read_outcomes(model, version, self._clock())
            except LedgerUnavailable as error:
                _log.debug("the outcomes of %s stand as they were: %s", model, error)
                continue
            self._last[model, version] = outcomes
            for tier, of_tier in outcomes.tiers.items():
                self._telemetry.show_outcomes(model, version, tier, of_tier)
