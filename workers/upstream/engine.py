"""Runs requests upstream, some at once and the others in order of arrival."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from workers.engine import (
    EngineError,
    EngineLoad,
    EngineOutput,
    EngineRequest,
    EngineStopped,
    InvalidRequest,
    QueueFull,
    RequestFailed,
)
from workers.upstream.early_exit import TrialPlan
from workers.upstream.health import ServerHealth
from workers.upstream.markers import Markers
from workers.upstream.meter import Meter
from workers.upstream.outbox import Outbox
from workers.upstream.run import Parts, Run
from workers.upstream.token_source import TokenSource
from workers.upstream.trials import TrialParts
from workers.upstream.wire import Wire

_log = logging.getLogger(__name__)


class UpstreamEngine:
    """The Backend that has its engine elsewhere. Built anywhere, used inside one event loop.

    It outlives its server: while that is not well, requests fail at once with EngineStopped, so
    that routers go elsewhere.
    """

    failure: Exception | None = None
    is_running = True

    def __init__(
        self,
        wire: Wire,
        source: TokenSource,
        markers: Markers,
        *,
        health: ServerHealth,
        plan: TrialPlan | None,
        max_running: int,
        max_waiting: int,
        max_model_len: int,
        chunk_tokens: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_model_len`: the longest sequence, in tokens. `chunk_tokens`: of one output.

        `plan`: None when thinking does not stop early.
        """
        self.max_running = max_running
        self._wire = wire
        self._health = health
        self._markers = markers
        self._max_waiting = max_waiting
        self._max_model_len = max_model_len
        self._chunk_tokens = chunk_tokens
        self._meter = Meter(clock)
        trials = None if plan is None else self._trial_parts(plan, source)
        self._parts = Parts(
            source=source, markers=markers, meter=self._meter, clock=clock, trials=trials
        )
        self._slots = asyncio.Semaphore(max_running)
        self._num_running = 0
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        await self._health.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._health.__aexit__(kind, error, traceback)
        tasks = [task for _, task in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._wire.close()

    @property
    def is_well(self) -> bool:
        """Whether the server says that it is well."""
        return self._health.is_well

    def load(self) -> EngineLoad:
        """What this worker has upstream; how many others use the server is not known."""
        meter = self._meter
        return EngineLoad(
            running=self._num_running,
            waiting=len(self._runs) - self._num_running,
            pages_free=0,
            pages_total=0,
            preemptions=0,
            tokens_per_s=meter.tokens_per_s,
            time_per_output_token_s=meter.time_per_output_token_s,
            time_to_first_token_s=meter.time_to_first_token_s,
            batch_size=float(self._num_running),
            long_step_s=0.0,
            prefix_tokens=0,
            branches_dropped=meter.trials_dropped,
            not_finite=0,
            out_of_memory=0,
            failed=meter.failed,
            step_faults=0,
            sampled_tokens=meter.sampled_tokens,
            busy_s=0.0,
            finished=meter.finished,
        )

    async def submit(self, request: EngineRequest) -> AsyncIterator[EngineOutput]:
        """See Backend."""
        self._check(request)
        outbox = Outbox(request.request_id, self._chunk_tokens)
        run = Run(request, self._parts, outbox)
        task = asyncio.create_task(self._drive(run, outbox))
        # Not in the task: it may be cancelled before it begins.
        task.add_done_callback(lambda task: run.cancelled() if task.cancelled() else None)
        self._runs[request.request_id] = run, task
        try:
            while True:
                output = await outbox.get()
                yield output
                if output.finished is not None:
                    return
        finally:
            del self._runs[request.request_id]
            task.cancel()

    def abort(self, request_id: str) -> None:
        """End a request; its iterator gets a last output that says so."""
        if request_id in self._runs:
            self._runs[request_id][1].cancel()

    def close_thinking(self, request_id: str) -> None:
        """Cut the thinking of a request, after one more token at most; the answer follows."""
        if request_id in self._runs:
            self._runs[request_id][0].close_soon()

    def _trial_parts(self, plan: TrialPlan, source: TokenSource) -> TrialParts:
        return TrialParts(
            plan=plan,
            source=source,
            markers=self._markers,
            meter=self._meter,
            room=asyncio.Semaphore(plan.max_trials),
        )

    def _check(self, request: EngineRequest) -> None:
        if not self.is_well:
            raise EngineStopped("the upstream is not well")
        if request.request_id in self._runs:
            raise InvalidRequest("request_id is already running")
        if len(self._runs) - self._num_running >= self._max_waiting:
            raise QueueFull(f"{self._max_waiting} requests wait already")
        markers = len(self._markers.open_ids) + len(self._markers.forced_close_ids)
        most = len(request.prompt_ids) + request.thinking_budget + request.max_answer_tokens
        if most + markers > self._max_model_len:
            raise InvalidRequest(
                f"prompt ({len(request.prompt_ids)} tokens), thinking_budget and max_answer_tokens "
                f"need {most + markers} tokens, more than the {self._max_model_len} that the "
                "upstream takes: shorten the prompt or think less"
            )

    async def _drive(self, run: Run, outbox: Outbox) -> None:
        """One request until its last output or its error."""
        try:
            async with self._slots:
                self._num_running += 1
                try:
                    await run.go()
                finally:
                    self._num_running -= 1
            self._meter.finished += 1
        except EngineError as error:
            self._meter.failed += isinstance(error, RequestFailed)
            outbox.fail(error)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            _log.exception("a request failed upstream")
            outbox.fail(error)
