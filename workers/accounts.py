"""Where a segment's end goes: one settlement record, to the ledger or to the spool."""

import time
from collections.abc import Callable

from ponder.ledger import Duplicate
from ponder.settlement import settlement_of
from ponder.settler import Lost, Settler
from ponder.v1 import worker_pb2


class Accounts:
    """Settles requests in the name of one worker."""

    def __init__(
        self, settler: Settler, worker: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._settler = settler
        self._worker = worker
        self._clock = clock

    async def settle(self, request: worker_pb2.ThinkRequest, done: worker_pb2.ThinkDone) -> None:
        """Settles the request, then sets `done.settled`, and `done.usage` to what counts.

        The record is in the ledger or on disk when this returns; `done.settled` stays false when
        neither took it.
        """
        record = settlement_of(request, done, worker=self._worker, finished_at_s=self._clock())
        outcome = await self._settler.settle(record)
        if isinstance(outcome, Duplicate):
            done.usage.CopyFrom(outcome.usage)
        done.settled = not isinstance(outcome, Lost)
