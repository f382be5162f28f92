"""Takes a classifier back that misses too often, before anybody has to look.

Every router reviews after each reading of the rollout; the change is a compare-and-set, so that
one of them makes it and the others find it made.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from ponder.classifiers import ClassifierStore
from ponder.ledger import LedgerUnavailable
from ponder.rollout import Rollout
from router.classification import Classifying
from router.guard import GuardConfig, Tally, objection
from router.telemetry import Telemetry

_log = logging.getLogger(__name__)
ACTION: Final = "rollback"
_WATCH_S: Final = 86_400.0
"""How long a promoted champion is watched: as long as counts are kept."""

ReadTally = Callable[[str, str, float], Awaitable[Tally]]
"""From model, version and unix time to the counts of the last day. Raises LedgerUnavailable."""


class Rollback:
    """Watches the canary, and a champion that was promoted less than a day ago."""

    def __init__(
        self,
        store: ClassifierStore,
        read_tally: ReadTally,
        classifying: Classifying,
        config: GuardConfig,
        telemetry: Telemetry,
        name: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`name` stands in the history for who made the change."""
        self._store = store
        self._read_tally = read_tally
        self._classifying = classifying
        self._config = config
        self._telemetry = telemetry
        self._name = name
        self._clock = clock

    async def review(self, model: str, rollout: Rollout) -> None:
        """One look. Without Redis there is nothing to see and nothing to change."""
        try:
            if reason := await self._against_canary(model, rollout):
                await self._change(model, rollout.without_canary(), reason)
            elif reason := await self._against_champion(model, rollout):
                await self._change(model, rollout.rolled_back(self._clock()), reason)
        except LedgerUnavailable as error:
            _log.debug("no review of the classifiers of %s: %s", model, error)

    async def _against_canary(self, model: str, rollout: Rollout) -> str:
        if not rollout.canary:
            return ""
        now_s = self._clock()
        tally = await self._read_tally(model, rollout.canary, now_s)
        champion = self._classifying.serving(model).champion
        rival = await self._read_tally(model, champion.version, now_s) if champion else None
        return _told("canary", rollout.canary, objection(tally, rival, self._config))

    async def _against_champion(self, model: str, rollout: Rollout) -> str:
        age_s = self._clock() - rollout.promoted_at_s
        if not rollout.previous or not age_s < _WATCH_S:
            return ""
        tally = await self._read_tally(model, rollout.champion, self._clock())
        return _told("champion", rollout.champion, objection(tally, None, self._config))

    async def _change(self, model: str, after: Rollout, reason: str) -> None:
        if await self._store.change(
            model, after, action=ACTION, reason=reason, changed_by=self._name
        ):
            self._telemetry.count_rollback()
            _log.warning("classifier of %s rolled back: %s", model, reason)


def _told(part: str, version: str, reason: str) -> str:
    return f"{part} {version}: {reason}" if reason else ""
