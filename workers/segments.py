"""The segments that run, each in a task that is owned here and ends after its settlement."""

import asyncio
from itertools import count

from ponder.tracing import CallMetadata
from ponder.v1 import worker_pb2
from workers.segment import Segment, Workshop


class Segments:
    """Starts segments and knows when the last has ended."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._tasks: set[asyncio.Task[None]] = set()
        # Request ids are unique per tenant only, and a retry may meet its predecessor.
        self._engine_ids = count()

    def start(
        self,
        request: worker_pb2.ThinkRequest,
        remaining_s: float | None,
        metadata: CallMetadata = (),
    ) -> Segment:
        """Starts a segment that ends by its deadline, `remaining_s` from now.

        `metadata`, that of its call, names the trace that it belongs to.
        """
        trace = self._workshop.telemetry.begin(request, metadata)
        segment = Segment(request, f"segment-{next(self._engine_ids)}", self._workshop, trace)
        task = asyncio.create_task(segment.run(remaining_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return segment

    async def wait_until_idle(self) -> None:
        """Returns when every segment has ended and settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)
