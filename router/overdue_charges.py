"""Makes the charges of workers and routers that died between settling a request and charging it."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from ponder.ledger import Ledger, LedgerUnavailable

_log = logging.getLogger(__name__)


class OverdueCharges:
    """Looks in the background; every router may, for a charge is made once."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives unix time."""
        self._ledger = ledger
        self._clock = clock

    async def run(self, models: Callable[[], Sequence[str]], interval_s: float) -> None:
        """Until cancelled."""
        while True:
            for model in models():
                await self._charge(model)
            await asyncio.sleep(interval_s)

    async def _charge(self, model: str) -> None:
        try:
            if number := await self._ledger.charge_overdue(model, self._clock()):
                _log.info("made %d charges that their settlers did not", number)
        except LedgerUnavailable as error:
            _log.debug("charges of %s wait: %s", model, error)
