"""What settlements have changed of late, so that readers read that and not everything again."""

import json
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import cast

from ponder import keys
from ponder.ledger import Ledger
from ponder.redis_call import within


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Pairs of version and tenant whose counts or corrections have changed. `until_ms`, the unix
    time of Redis, is where the next reading goes on.
    """

    segments: frozenset[tuple[str, str]]
    until_ms: float


async def read_changes(ledger: Ledger, model: str, since_ms: float) -> Changes:
    """What changed at that millisecond or later: so the newest is told each time, for it may have
    changed again. Raises LedgerUnavailable.
    """
    reply = ledger.client.zrangebyscore(keys.changed(model), since_ms, "+inf", withscores=True)
    found = cast(
        "list[tuple[bytes, float]]",
        await within(ledger.config.timeout_s, cast("Awaitable[object]", reply)),
    )
    segments = frozenset(pair for member, _ in found if (pair := _parsed(member)))
    return Changes(segments=segments, until_ms=max((ms for _, ms in found), default=since_ms))


def _parsed(member: bytes) -> tuple[str, str] | None:
    try:
        version, tenant = json.loads(member)
    except (TypeError, ValueError):
        return None
    return str(version), str(tenant)
