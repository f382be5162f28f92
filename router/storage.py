"""Where the router's records go: Redis, and the spool for while it is away. Opened at the start."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from ponder.environment import ConfigError
from ponder.ledger import Ledger, LedgerConfig, LedgerUnavailable
from ponder.spool import Spool, SpoolInUse
from router.config import RouterConfig

_REDIS_RETRY_S: Final = 0.2


async def open_ledger(config: RouterConfig, stack: AsyncExitStack) -> Ledger:
    """Closed with `stack`. Waits for a Redis that is late. Raises ConfigError."""
    try:
        ledger = Ledger.from_url(config.redis_url, _ledger_config(config))
    except ValueError as error:
        raise ConfigError(f"ROUTER_REDIS_URL: {error}") from error
    stack.push_async_callback(ledger.close)
    give_up_at_s = time.monotonic() + config.redis_wait_s
    while True:
        try:
            await ledger.ping()
            return ledger
        except LedgerUnavailable as error:
            if time.monotonic() >= give_up_at_s:
                raise ConfigError(f"ROUTER_REDIS_URL: no Redis answers there: {error}") from error
        await asyncio.sleep(_REDIS_RETRY_S)


def open_spool(config: RouterConfig) -> Spool:
    """The router's own. Raises ConfigError."""
    try:
        return Spool(Path(config.spool_dir))
    except (OSError, SpoolInUse) as error:
        raise ConfigError(f"ROUTER_SPOOL_DIR: {error}") from error


def _ledger_config(config: RouterConfig) -> LedgerConfig:
    return LedgerConfig(trace_life_s=config.trace_life_s, max_traces=config.max_traces)
