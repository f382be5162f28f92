"""Ends a request: settles it in the ledger, or in the spool while Redis is away. Never fails one.

Used by workers, and by the router for requests that no worker could end.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, takewhile
from typing import Final

from ponder.journal import Journal
from ponder.ledger import Duplicate, Ledger, LedgerUnavailable, Settled
from ponder.settlement import Settlement
from ponder.spool import Spool, SpoolFull

_log = logging.getLogger(__name__)
_REPLAYED_AT_ONCE: Final = 64
# The Redis is asked this often whether it is still the same, with the same data.
_CHECK_S: Final = 1.0
# A single lost reply should not hold the rest up; a Redis that stays away is not asked too often.
_FIRST_RETRY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Spooled:
    """Redis did not take the record; it is on disk and will be replayed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Neither Redis nor the disk took the record. Logged as an error, without its contents."""


class Settler:
    """Settles in order: while the spool holds anything, new records join it and nobody waits.

    So a Redis that hangs delays one request by the ledger's timeout, not every request. A record
    that the ledger took without our learning of it is spooled as well; the ledger knows it again.
    What the ledger acknowledged is kept for minutes in a journal beside the spool, with the usage
    that counts, and settled again when Redis failed over, restarted or was emptied.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        retry_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`retry_s`: the longest pause between two attempts to replay."""
        self._ledger = ledger
        self._spool = spool
        self._retry_s = retry_s
        self._pause_s = min(_FIRST_RETRY_S, retry_s)
        self._clock = clock
        self._journal = Journal(spool.directory, clock=clock)
        self._identity: str | None = None
        self._forgotten: Iterator[Settlement] = iter(())
        self._batch: list[Settlement] = []
        self._spool_lock = asyncio.Lock()
        self._spooled = asyncio.Event()
        self._settling: set[asyncio.Task[Settled | Duplicate | Spooled | Lost]] = set()
        if not spool.is_empty:
            self._spooled.set()

    async def settle(self, record: Settlement) -> Settled | Duplicate | Spooled | Lost:
        """Never raises. When the caller is cancelled, the record is settled all the same."""
        task = asyncio.create_task(self._settle(record))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Returns when everything begun is settled or spooled. Ledger and spool stay open."""
        while self._settling:
            await asyncio.wait(self._settling)

    async def run(self) -> None:
        """Replays the spool whenever it holds something, and the journal when Redis may have
        forgotten what it acknowledged. Runs until cancelled.
        """
        while True:
            try:
                await self._look_at_redis()
                if num_settled := await self.replay():
                    _log.info("replayed %d settlements", num_settled)
                # Between two batches the spool goes first: only from there is anything missing yet.
                has_more = await self._settle_next_forgotten()
            except (LedgerUnavailable, OSError) as error:
                if self._spooled.is_set():
                    _log.warning("replay waits %.2f s: %s", self._pause_s, error)
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, self._retry_s)
            else:
                if not has_more:
                    await self._wait_for_work()

    async def replay_forgotten(self) -> None:
        """Settles the journal again, if Redis is not the one that acknowledged it.

        Raises LedgerUnavailable; the next call goes on from there.
        """
        await self._look_at_redis()
        while await self._settle_next_forgotten():
            pass

    async def replay(self) -> int:
        """Settles everything in the spool and returns how many records that were.

        Raises LedgerUnavailable with the rest left in place.
        """
        num_settled = 0
        while num := await self._settle_next():
            num_settled += num
        return num_settled

    async def _settle(self, record: Settlement) -> Settled | Duplicate | Spooled | Lost:
        if not self._spooled.is_set():
            with contextlib.suppress(LedgerUnavailable):
                return self._keep(record, await self._ledger.settle(record))
        return await self._append(record)

    def _keep(self, record: Settlement, outcome: Settled | Duplicate) -> Settled | Duplicate:
        """In the journal, with the usage that counts: whoever told it can say it again."""
        if isinstance(outcome, Duplicate):
            record = replace(record, usage=outcome.usage)
        try:
            self._journal.append(record)
        except OSError as error:
            _log.warning("not in the journal, should Redis forget it: %s", error)
        return outcome

    def _next_batch(self) -> list[Settlement]:
        if not self._batch:
            recent = (record for record in self._forgotten if not self._is_too_old(record))
            self._batch = list(islice(recent, _REPLAYED_AT_ONCE))
        return self._batch

    async def _look_at_redis(self) -> None:
        identity = await self._ledger.identity()
        if identity == self._identity:
            return
        if self._settling:  # what the earlier one acknowledged just now
            await asyncio.wait(self._settling)
        known = await asyncio.to_thread(self._journal.known_identity)
        self._identity, self._batch = identity, []
        self._forgotten = iter(()) if identity == known else self._journal.records()

    async def _settle_next_forgotten(self) -> bool:
        """Whether there may be more."""
        if batch := self._next_batch():
            outcomes = await self._ledger.settle_all(batch)
            if num_settled := sum(isinstance(outcome, Settled) for outcome in outcomes):
                _log.warning("Redis had forgotten %d settlements; settled again", num_settled)
            self._batch = []
            return True
        assert self._identity is not None, "looked at before"
        await asyncio.to_thread(self._journal.note_identity, self._identity)
        return False

    async def _wait_for_work(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_S):
                await self._spooled.wait()

    async def _settle_next(self) -> int:
        """Many at once: under load the spool must empty faster than it fills."""
        async with self._spool_lock:
            records = await asyncio.to_thread(self._spool.next_records, _REPLAYED_AT_ONCE)
            if not records:
                self._spooled.clear()
                return 0
        if self._is_too_old(records[0]):
            _log.error("a spooled settlement is too old to tell from a new one; set aside")
            await self._advance(self._spool.reject)
            return 1
        records = list(takewhile(lambda record: not self._is_too_old(record), records))
        for record, outcome in zip(records, await self._ledger.settle_all(records), strict=True):
            self._keep(record, outcome)
        await self._advance(partial(self._spool.done, len(records)))
        self._pause_s = min(_FIRST_RETRY_S, self._retry_s)
        return len(records)

    def _is_too_old(self, record: Settlement) -> bool:
        return self._clock() - record.finished_at_s > self._ledger.config.settled_life_s

    async def _advance(self, step: Callable[[], None]) -> None:
        async with self._spool_lock:
            await asyncio.to_thread(step)

    async def _append(self, record: Settlement) -> Spooled | Lost:
        async with self._spool_lock:
            try:
                await asyncio.to_thread(self._spool.append, record)
            except (OSError, SpoolFull) as error:
                _log.error("a settlement is lost: %s", error)
                return Lost()
            self._spooled.set()
        return Spooled()
