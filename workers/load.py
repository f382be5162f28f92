"""The worker's load, for routers that watch it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from ponder.v1 import worker_pb2
from workers.backend import Backend
from workers.engine import EngineLoad

# The contract is once a second; the rest is for a busy event loop.
_LONGEST_SILENCE_S = 0.8
# Changes that follow each other faster than this are one report.
_SHORTEST_GAP_S = 0.02
_PACE_LIFE_S = 10.0
"""After so long a silence the pace is told no more. One stalled step would else be an idle worker's
for ever: no router would send it what cannot be done in time at it, and nothing else measures anew.
"""


class LoadFeed:
    """Reports now, soon after each `notify`, and at least once a second. Any number of readers."""

    def __init__(
        self,
        engine: Backend,
        fixed: worker_pb2.Load,
        is_draining: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fixed`: what every report says: models, and how much is done of a request at once."""
        self._engine = engine
        self._fixed = fixed
        self._is_draining = is_draining
        self._clock = clock
        self._num_sampled, self._sampled_at_s = 0, clock()
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """A request came, produced its first token, or ended."""
        self._changed.set()
        self._changed = asyncio.Event()

    def current(self) -> worker_pb2.Load:
        """The load at this moment."""
        load = self._engine.load()
        report = worker_pb2.Load(
            running=load.running,
            waiting=load.waiting,
            free_kv_pages=load.pages_free,
            total_kv_pages=load.pages_total,
            tokens_per_second=load.tokens_per_s,
            time_per_output_token_ms=self._pace_s(load) * 1e3,
            time_to_first_token_ms=load.time_to_first_token_s * 1e3,
            batch_size=load.batch_size,
            preemptions=load.preemptions,
            prefix_tokens=load.prefix_tokens,
            failed_requests=load.failed,
            is_draining=self._is_draining(),
            is_unwell=not self._engine.is_well,
        )
        report.MergeFrom(self._fixed)
        return report

    def _pace_s(self, load: EngineLoad) -> float:
        now_s = self._clock()
        if load.sampled_tokens != self._num_sampled:
            self._num_sampled, self._sampled_at_s = load.sampled_tokens, now_s
        is_known = now_s - self._sampled_at_s < _PACE_LIFE_S or load.running
        return load.time_per_output_token_s if is_known else 0.0

    async def reports(self) -> AsyncIterator[worker_pb2.Load]:
        """Never ends by itself."""
        while True:
            changed = self._changed
            yield self.current()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_SILENCE_S):
                    await changed.wait()
            await asyncio.sleep(_SHORTEST_GAP_S)
