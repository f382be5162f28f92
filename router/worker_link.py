"""The router's connection to one worker: its channel, its load, and what was sent to it."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

import grpc

from ponder import rpc
from ponder.tls import Dialler, Line
from ponder.tracing import Metadata
from ponder.v1 import worker_pb2, worker_pb2_grpc
from router import choice
from router.burden import Burden, BurdenAccount, Expect
from router.ejection import Pace
from router.worker_loss import (
    REFUSALS,
    Connection,
    WorkerLost,
    WorkerRefused,
    WorkerSilent,
    was_accepted,
)

_log = logging.getLogger(__name__)
_FIRST_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0
# The contract is one report a second, and a silent worker must be out within 3 s. Counted in ticks,
# so that a stall of this process, however long, is one of them and no worker's fault.
_SILENCE_TICK_S: Final = 0.5
_SILENCE_TICKS: Final = 5
# gRPC by itself waits up to two minutes before it tries an address again.
_RECONNECT: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


_ThinkCall = grpc.aio.UnaryStreamCall[worker_pb2.ThinkRequest, worker_pb2.ThinkEvent]
_WatchCall = grpc.aio.UnaryStreamCall[worker_pb2.WatchRequest, worker_pb2.Load]


class WorkerState(Enum):
    """What may be said of a worker, for metrics."""

    SERVING = "serving"
    DRAINING = "draining"
    UNWELL = "unwell"
    EJECTED = "ejected"
    LOST = "lost"


class WorkerLink:
    """One worker. Alive while its Watch stream delivers. A router.choice.Candidate."""

    def __init__(
        self,
        address: str,
        rng: random.Random,
        name: str | None = None,
        dialler: Dialler | None = None,
    ) -> None:
        """`name`: what it is called, as host:port, where `address` was looked up. `dialler` opens
        the connection; None: without TLS.
        """
        self.address = address
        self._load: worker_pb2.Load | None = None
        self._num_others = 0
        self._is_leaving = False
        self.is_ejected = False
        self.is_retired = False
        self._account = BurdenAccount()
        self._is_unused = asyncio.Event()
        self._rng = rng
        options = (*rpc.channel_options(), *_RECONNECT)
        self._line = Line(dialler or Dialler(), address, options, name)
        self._stub = worker_pb2_grpc.WorkerStub(self._line.channel)
        self._calls: set[_ThinkCall] = set()
        self._given_up: set[_ThinkCall] = set()

    @property
    def load(self) -> worker_pb2.Load | None:
        """As last reported; None when it is not alive."""
        return self._load

    @load.setter
    def load(self, load: worker_pb2.Load | None) -> None:
        self._load = load
        self._is_leaving = load.is_draining if load else self._is_leaving
        num_reported = load.running + load.waiting if load else 0
        self._num_others = max(0, num_reported - self._account.total.num)

    @property
    def is_alive(self) -> bool:
        return self.load is not None

    @property
    def takes_requests(self) -> bool:
        """Whether it may be given another segment."""
        if self.load is None or self.is_retired:
            return False
        return not (self.load.is_draining or self.load.is_unwell)

    @property
    def in_flight(self) -> int:
        """Requests there, of this router and, as of its last report, of others."""
        return self._account.total.num + self._num_others

    @property
    def slots(self) -> int:
        """How many requests run there at once; 0: not known."""
        return self.load.max_running if self.load else 0

    @property
    def probation_tokens(self) -> int:
        """So many of each request run ahead of what has had more; 0: not known, or none do."""
        return self.load.probation_tokens if self.load else 0

    @property
    def demoted_slots(self) -> int:
        """Of the slots, those that are kept for requests that have had more."""
        if self.load and self.load.HasField("demoted_slots"):
            return self.load.demoted_slots
        return choice.usual_demoted_slots(self.slots)

    @property
    def outstanding_tokens(self) -> float:
        """Predicted tokens to come of this router's requests."""
        return self._account.total.tokens

    @property
    def burden(self) -> Burden:
        """Of all requests there, those of others guessed from their number."""
        return self._account.total.scaled_to(self.in_flight, self.probation_tokens)

    @property
    def state(self) -> WorkerState:
        """In one word."""
        if self.load is None:
            return WorkerState.LOST
        if self.load.is_draining:
            return WorkerState.DRAINING
        if self.load.is_unwell:
            return WorkerState.UNWELL
        return WorkerState.EJECTED if self.is_ejected else WorkerState.SERVING

    @property
    def pace(self) -> Pace:
        """Of one sequence there."""
        load = self.load or worker_pb2.Load()
        return Pace(
            token_ms=load.time_per_output_token_ms,
            batch_size=load.batch_size,
            is_busy=load.running > 0,
        )

    def retire(self) -> None:
        """It gets no new segment; what runs there goes on."""
        self.is_retired = True
        self._note_use()

    async def wait_until_unused(self) -> None:
        """Returns once it is retired and nothing of this router runs there."""
        await self._is_unused.wait()

    def mark_lost(self) -> None:
        """It failed a call; it is alive again with its next report."""
        self.load = None

    @contextmanager
    def expecting(self, tokens: float, attained_tokens: float = 0.0) -> Iterator[Expect]:
        """Counts a request that has so many predicted tokens to come, and has had so many, for the
        duration of the block; what it yields says how it gets on.
        """
        account = self._account.expecting(
            tokens, attained_tokens, lambda: float(self.probation_tokens)
        )
        try:
            with account as expect:
                yield expect
        finally:
            self._note_use()

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Follows the worker's load until cancelled, through every outage."""
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                async for load in self._reports():
                    retry_s = _FIRST_RETRY_S
                    self.load = load
                    on_change()
            except grpc.aio.AioRpcError as error:
                self._log_loss(error.code().name)
            except WorkerSilent:
                self._log_loss("it fell silent")
                self._give_up_calls()
            self.load = None
            on_change()
            await asyncio.sleep(retry_s * self._rng.uniform(0.5, 1.0))
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
            if self._line.renew():
                self._stub = worker_pb2_grpc.WorkerStub(self._line.channel)

    async def think(
        self,
        request: worker_pb2.ThinkRequest,
        timeout_s: float,
        on_accepted: Callable[[], None],
        metadata: Metadata = (),
    ) -> AsyncGenerator[worker_pb2.ThinkEvent, None]:
        """Runs one segment. `on_accepted` is called when the worker answers for its settlement;
        leaving early cancels the call. Raises WorkerLost, WorkerRefused.
        """
        connection = Connection(self._line.channel)
        call = self._stub.Think(request, timeout=timeout_s, metadata=metadata)
        self._calls.add(call)
        has_begun = False
        try:
            await call.initial_metadata()
            if has_begun := not call.done():
                on_accepted()
            async for event in call:
                has_begun = True
                yield event
        except grpc.aio.AioRpcError as error:
            if error.code() in REFUSALS:
                raise WorkerRefused(error.code(), error.details() or "") from error
            self.mark_lost()  # nobody else comes here while that is found out
            has_begun = has_begun or was_accepted(error) or await connection.was_lost()
            is_crash = has_begun and not self._is_leaving
            raise WorkerLost(f"{self.address}: {error.code().name}", is_crash=is_crash) from error
        except asyncio.CancelledError:
            if call not in self._given_up or _is_cancelled():
                raise
            raise WorkerLost(f"{self.address}: it fell silent", is_crash=has_begun) from None
        finally:
            self._calls.discard(call)
            self._given_up.discard(call)
            call.cancel()

    async def close(self) -> None:
        await self._line.close()

    def _note_use(self) -> None:
        if self.is_retired and not self._account.total.num:
            self._is_unused.set()

    async def _reports(self) -> AsyncIterator[worker_pb2.Load]:
        """Raises WorkerSilent, and AioRpcError when the stream fails."""
        call = self._stub.Watch(worker_pb2.WatchRequest())
        try:
            while (load := await _next_report(call)) is not None:
                yield load
        finally:
            call.cancel()

    def _give_up_calls(self) -> None:
        """Whoever waits for one of them goes on elsewhere, long before its deadline."""
        self._given_up |= self._calls
        for call in self._given_up:
            call.cancel()

    def _log_loss(self, reason: str) -> None:
        if self.is_alive:
            _log.warning("lost worker %s: %s", self.address, reason)


async def _next_report(call: _WatchCall) -> worker_pb2.Load | None:
    """None at the end of the stream. Raises WorkerSilent, and AioRpcError when it fails."""
    reading = asyncio.ensure_future(call.read())
    try:
        for _ in range(_SILENCE_TICKS):
            await asyncio.wait((reading,), timeout=_SILENCE_TICK_S)
            if reading.done():
                load = reading.result()
                return load if isinstance(load, worker_pb2.Load) else None
        raise WorkerSilent
    finally:
        reading.cancel()


def _is_cancelled() -> bool:
    """Whether this task itself was cancelled; a call that is cancelled looks the same to it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
