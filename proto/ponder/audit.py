"""Proves the ledger's totals: what each tenant is said to have spent is what its traces add up to.

Totals and the end of the traces are read in one transaction, so that it holds under traffic too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, cast

from ponder import keys
from ponder.counts import Totals
from ponder.ledger import Ledger
from ponder.redis_call import within
from ponder.settlement import Settlement, usage_from_dict, usage_to_dict
from ponder.spool import pending_records
from ponder.v1.budget_pb2 import Usage

_PAGE_SIZE: Final = 500
_SCAN_SIZE: Final = 1_000
_FIELDS: Final = tuple(field.name for field in fields(Totals))


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantBooks:
    """What the ledger says that a tenant spent, what its traces add up to, and what is spooled."""

    tenant: str
    totals: Totals
    traced: Totals
    spooled: Totals

    def differences(self) -> dict[str, int]:
        """Totals less traces, by field; only fields that differ."""
        pairs = ((name, getattr(self.totals, name), getattr(self.traced, name)) for name in _FIELDS)
        return {name: total - traced for name, total, traced in pairs if total != traced}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The books of one model. `num_trimmed` traces were deleted for their age or number.

    `doubled` request ids have more than one trace. `unmarked` have a trace that is younger than
    the marker of a settled request lives, and no marker. `restated` have a marker with another
    usage than the trace.
    """

    model: str
    tenants: tuple[TenantBooks, ...]
    num_traces: int
    num_trimmed: int
    doubled: tuple[str, ...]
    unmarked: tuple[str, ...]
    restated: tuple[str, ...]

    def faults(self) -> list[str]:
        """What is wrong, one line each; empty when the books balance."""
        found = [fault for books in self.tenants for fault in self._faults_of(books)]
        if (missing := self._num_missing()) != self.num_trimmed:
            found.append(f"requests: totals less traces is {missing}; {self.num_trimmed} trimmed")
        for what, ids in (
            ("settled more than once", self.doubled),
            ("have a trace but are not marked as settled", self.unmarked),
            ("are marked with another usage than traced", self.restated),
        ):
            if ids:
                found.append(f"{len(ids)} requests {what}, for instance {ids[0]}")
        return found

    def _faults_of(self, books: TenantBooks) -> list[str]:
        differences = books.differences()
        if self.num_trimmed:  # then the totals hold more, never less
            differences = {name: value for name, value in differences.items() if value < 0}
        return [
            f"tenant {books.tenant}: {name} in the totals is {abs(value)} "
            f"{'above' if value > 0 else 'below'} the traces"
            for name, value in differences.items()
        ]

    def _num_missing(self) -> int:
        return sum(books.totals.requests - books.traced.requests for books in self.tenants)


async def audit(ledger: Ledger, model: str, now_s: float, spools: Iterable[Path] = ()) -> Audit:
    """Reads every trace of the model. Raises LedgerUnavailable; OSError for a spool."""
    tenants = await _tenants(ledger, model)
    totals, num_added, last_id = await _snapshot(ledger, model, tenants)
    traces = await _traces(ledger, model, last_id)
    waiting = [record for path in spools for record in pending_records(path)]
    waiting = await _unsettled(ledger, [record for record in waiting if record.model == model])
    per_request = Counter((trace.tenant, trace.request_id) for trace in traces)
    unmarked, restated = await _check_markers(ledger, traces, now_s)
    traced, spooled = _sums(traces), _sums(waiting)
    return Audit(
        model=model,
        tenants=tuple(
            TenantBooks(
                tenant=tenant,
                totals=totals.get(tenant, Totals()),
                traced=traced.get(tenant, Totals()),
                spooled=spooled.get(tenant, Totals()),
            )
            for tenant in sorted({*totals, *traced, *spooled})
        ),
        num_traces=len(traces),
        num_trimmed=num_added - len(traces),
        doubled=tuple(name for (_, name), count in per_request.items() if count > 1),
        unmarked=unmarked,
        restated=restated,
    )


async def _tenants(ledger: Ledger, model: str) -> list[str]:
    found: set[str] = set()
    cursor, pattern = 0, keys.totals_of_all(model)
    while True:
        cursor, names = await within(
            ledger.config.timeout_s, ledger.client.scan(cursor, match=pattern, count=_SCAN_SIZE)
        )
        found |= {keys.tenant_of_totals(cast(bytes, name).decode()) for name in names}
        if cursor == 0:
            return sorted(found)


async def _snapshot(
    ledger: Ledger, model: str, tenants: list[str]
) -> tuple[dict[str, Totals], int, str]:
    """Totals by tenant, traces ever added, and the id of the last one; all of one moment."""
    pipeline = ledger.client.pipeline(transaction=True)
    pipeline.exists(keys.traces(model))
    for tenant in tenants:
        pipeline.hgetall(keys.totals(model, tenant))
    # Refused for a key that is not there, and a transaction goes on after that.
    pipeline.xinfo_stream(keys.traces(model))
    replies = await within(ledger.config.timeout_s, pipeline.execute(raise_on_error=False))
    has_traces, *hashes, stream = replies
    totals = {
        tenant: Totals.from_hash(cast(Mapping[bytes, bytes], found))
        for tenant, found in zip(tenants, hashes, strict=True)
    }
    if not has_traces:
        return totals, 0, "0"
    return totals, int(stream["entries-added"]), stream["last-generated-id"].decode()


async def _traces(ledger: Ledger, model: str, last_id: str) -> list[Settlement]:
    traces: list[Settlement] = []
    async for trace_id, trace in ledger.read_traces(model):
        if _order(trace_id) > _order(last_id):
            break
        # Features and hazards need most of the memory, and nobody counts them.
        traces.append(replace(trace, features=(), prior_hazards=(), prompt=None))
    return traces


async def _check_markers(
    ledger: Ledger, traces: list[Settlement], now_s: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    oldest_s = now_s - ledger.config.settled_life_s
    unmarked, restated = [], []
    for page in _pages(traces):
        for trace, usage in zip(page, await _markers(ledger, page), strict=True):
            if usage is None and trace.finished_at_s > oldest_s:
                unmarked.append(trace.request_id)
            elif usage is not None and usage != _as_marked(trace.usage):
                restated.append(trace.request_id)
    return tuple(unmarked), tuple(restated)


async def _unsettled(ledger: Ledger, records: list[Settlement]) -> list[Settlement]:
    left = []
    for page in _pages(records):
        found = zip(page, await _markers(ledger, page), strict=True)
        left += [record for record, usage in found if usage is None]
    return left


async def _markers(ledger: Ledger, records: Iterable[Settlement]) -> list[Usage | None]:
    return await ledger.settled_usages(
        [(record.model, record.tenant, record.request_id) for record in records]
    )


def _pages(records: Sequence[Settlement]) -> Iterator[Sequence[Settlement]]:
    for start in range(0, len(records), _PAGE_SIZE):
        yield records[start : start + _PAGE_SIZE]


def _as_marked(usage: Usage) -> Usage:
    return usage_from_dict(usage_to_dict(usage))


def _sums(records: Iterable[Settlement]) -> dict[str, Totals]:
    sums: dict[str, dict[str, int]] = {}
    for record in records:
        into = sums.setdefault(record.tenant, dict.fromkeys(_FIELDS, 0))
        for name, value in Totals.of(record.usage).to_hash().items():
            into[name] += value
    return {tenant: Totals(**found) for tenant, found in sums.items()}


def _order(trace_id: str) -> tuple[int, ...]:
    return tuple(map(int, trace_id.split("-")))
