"""What clients were told, beside what the ledger holds."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ponder.audit import audit
from ponder.cli.chaos.fleet import MODEL, TENANT, Fleet
from ponder.ledger import Ledger
from ponder.settlement import usage_from_dict, usage_to_dict
from ponder.v1.budget_pb2 import Usage

_PAGE_SIZE: Final = 1_000
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Request ids: `lost` are told but not in the ledger, `doubled` counted twice, `restated` in
    it with another usage than told. `faults`: where totals and traces differ. `reconciled_s`: how
    long it took until everything told was in the ledger, or until that was given up.
    """

    lost: list[str]
    doubled: list[str]
    restated: list[str]
    faults: list[str]
    reconciled_s: float


async def reconcile(fleet: Fleet, told: Mapping[str, Usage], timeout_s: float) -> Books:
    """Waits until the ledger has everything and every spool is empty, then compares."""
    started_s = time.monotonic()
    async with fleet.ledger() as ledger:
        missing = list(told)
        while missing := await _missing(ledger, missing):
            if time.monotonic() - started_s > timeout_s:
                break
            await asyncio.sleep(_POLL_S)
        while not _are_empty(fleet.spools.values()):
            if time.monotonic() - started_s > timeout_s:
                break
            await asyncio.sleep(_POLL_S)
        reconciled_s = time.monotonic() - started_s
        found = await audit(ledger, MODEL, time.time())
        return Books(
            lost=missing,
            doubled=list(found.doubled),
            restated=await _restated(ledger, told),
            faults=found.faults(),
            reconciled_s=reconciled_s,
        )


async def _missing(ledger: Ledger, names: list[str]) -> list[str]:
    missing = []
    for start in range(0, len(names), _PAGE_SIZE):
        page = names[start : start + _PAGE_SIZE]
        found = await _settled(ledger, page)
        missing += [name for name, usage in zip(page, found, strict=True) if usage is None]
    return missing


async def _restated(ledger: Ledger, told: Mapping[str, Usage]) -> list[str]:
    names, restated = list(told), []
    for start in range(0, len(names), _PAGE_SIZE):
        page = names[start : start + _PAGE_SIZE]
        for name, usage in zip(page, await _settled(ledger, page), strict=True):
            # As the ledger writes it: a float has another length on the wire than in JSON.
            if usage is not None and usage != usage_from_dict(usage_to_dict(told[name])):
                restated.append(name)
    return restated


async def _settled(ledger: Ledger, names: list[str]) -> list[Usage | None]:
    return await ledger.settled_usages([(MODEL, TENANT, name) for name in names])


def _are_empty(spools: Iterable[Path]) -> bool:
    return all(_size(path / "settlements.jsonl") == 0 for path in spools)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
