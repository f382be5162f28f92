"""Which tenants a router knows: from its configuration, and from Redis, read in the background."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ponder.ledger import Ledger, LedgerUnavailable
from ponder.tenant_store import StoredTenants, TenantStore
from router.config import RouterConfig
from router.tenants import Tenants
from router.tiers import parse_tier

_log = logging.getLogger(__name__)
_LONGEST_UNREAD_S: Final = 60.0
"""Then they are read whether they were changed or not: a Redis may have been restored."""


def open_tenants(config: RouterConfig) -> Tenants:
    """Those of the configuration. Raises ConfigError."""
    if config.tenants_file:
        return Tenants.load(Path(config.tenants_file))
    if config.stored_tenants:
        return Tenants(())
    return Tenants.open_to_all(parse_tier(config.max_tier))


class TenantUpkeep:
    """Keeps the tenants of Redis up to date in a router, if it is configured to know them."""

    def __init__(
        self,
        config: RouterConfig,
        ledger: Ledger,
        tenants: Tenants,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_on = config.stored_tenants
        self._interval_s = config.refresh_interval_s
        self._store = TenantStore.beside(ledger)
        self._tenants = tenants
        self._clock = clock
        self._num_changes = b""
        self._read_at_s = -math.inf
        self._found: list[str] = []
        self._complaints: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Until cancelled."""
        while self._is_on:
            await self.refresh()
            await asyncio.sleep(self._interval_s)

    async def refresh(self) -> None:
        """One round: reads them if one was changed. What Redis does not give stands; an unreadable
        record lets nobody in.
        """
        if not self._is_on:
            return
        try:
            if await self._may_have_changed():
                stored = await self._store.read()
                self._found = self._take(stored)
                self._num_changes, self._read_at_s = stored.num_changes, self._clock()
            complaints = self._found
        except LedgerUnavailable:
            complaints = ["the tenants in Redis cannot be read: the last known ones stand"]
        for complaint in frozenset(complaints) - self._complaints:
            _log.warning("%s", complaint)
        self._complaints = frozenset(complaints)

    async def _may_have_changed(self) -> bool:
        if self._clock() - self._read_at_s >= _LONGEST_UNREAD_S:
            return True
        num_changes = await self._store.read_num_changes()
        return not num_changes or num_changes != self._num_changes

    def _take(self, stored: StoredTenants) -> list[str]:
        if stored.is_blank:
            # Whoever flushed Redis, or failed over to an empty copy, meant to lock nobody out.
            known = len(self._tenants.names)
            lost = f"Redis has lost its tenants: the {known} last known ones stand; restore it"
            return [lost] if known else []
        self._tenants.replace_stored(stored.records)
        return stored.problems
