"""A worker that keeps the contract of worker.proto without a model: real gRPC, real settlements.

Its thinking is a deterministic function of seed and position, its answer one of the thinking, so
a resumed request can be told from one that lost a token. A script makes it die, hold or refuse.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from ponder import rpc
from ponder.ledger import Duplicate, Ledger
from ponder.settlement import settlement_of, total_usage
from ponder.v1 import budget_pb2, worker_pb2, worker_pb2_grpc

MODEL = "small"
CHUNK_TOKENS = 16
ANSWER_WORDS = 4


@dataclass
class Script:
    """Positions are thinking tokens. `need` tells after how many a request stops by itself. With
    `crash` the process ends as soon as it has a request.
    """

    need: Callable[[worker_pb2.ThinkRequest], int] = lambda request: 40
    die_at: int | None = None
    crash: bool = False
    die_in_answer: bool = False
    hold_at: int | None = None
    refuse: grpc.StatusCode | None = None
    give_up: bool = False
    ms_per_token: float = 0.0
    models: tuple[str, ...] = (MODEL,)
    is_silent: bool = False
    is_draining: bool = False
    is_unwell: bool = False
    max_running: int = 0
    max_thinking_budget: int | None = None
    probation_tokens: int = 0
    demoted_slots: int | None = None


@dataclass
class SmallWorker(worker_pb2_grpc.WorkerServicer):
    """`holding` is set when a request waits at hold_at, `cancelled` when one was cancelled.

    `calls` are the tasks of those under way: one that is cancelled settles yet.
    """

    name: str
    ledger: Ledger
    script: Script = field(default_factory=Script)
    requests: list[worker_pb2.ThinkRequest] = field(default_factory=list)
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    calls: set[asyncio.Task[Any]] = field(default_factory=set)

    async def Think(
        self, request: worker_pb2.ThinkRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[worker_pb2.ThinkEvent]:
        self.requests.append(request)
        if task := asyncio.current_task():
            self.calls.add(task)
            task.add_done_callback(self.calls.discard)
        if self.script.refuse:
            await context.abort(self.script.refuse, "prompt: refused by the script; send another")
        context.set_trailing_metadata((rpc.ACCEPTED,))
        if self.script.crash:
            os._exit(1)
        await context.send_initial_metadata(())
        ids = list(request.thinking_prefix_ids)
        try:
            async for chunk in self._think(request, ids, context):
                yield chunk
            async for event in self._close(request, ids, context):
                yield event
        except asyncio.CancelledError:
            done = worker_pb2.ThinkDone(
                stop=budget_pb2.THINKING_STOP_CANCELLED,
                finish_reason=budget_pb2.FINISH_REASON_CANCELLED,
                usage=self._usage(request, ids, 0),
            )
            await self._settle(request, done)
            self.cancelled.set()
            raise

    async def Watch(
        self, request: worker_pb2.WatchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[worker_pb2.Load]:
        while True:
            if not self.script.is_silent:
                yield self._load()
            await asyncio.sleep(0.05)

    def _load(self) -> worker_pb2.Load:
        script = self.script
        return worker_pb2.Load(
            time_per_output_token_ms=script.ms_per_token,
            models=script.models,
            is_draining=script.is_draining,
            is_unwell=script.is_unwell,
            max_running=script.max_running,
            max_thinking_budget=script.max_thinking_budget,
            probation_tokens=script.probation_tokens,
            demoted_slots=script.demoted_slots,
        )

    async def _think(
        self,
        request: worker_pb2.ThinkRequest,
        ids: list[int],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[worker_pb2.ThinkEvent]:
        limit = min(self.script.need(request), request.thinking_budget)
        while len(ids) < limit:
            await self._act(len(ids), context)
            until = min(limit, len(ids) + CHUNK_TOKENS)
            chunk = [token_at(request.sampling.seed, place) for place in range(len(ids), until)]
            ids += chunk
            text = "".join(f"{token} " for token in chunk) if request.include_thinking else ""
            yield worker_pb2.ThinkEvent(thinking=worker_pb2.ThinkingChunk(ids=chunk, text=text))
        await self._act(len(ids), context)

    async def _act(self, position: int, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        script = self.script
        if script.die_at is not None and position >= script.die_at:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "died")
        if script.hold_at is not None and position >= script.hold_at:
            self.holding.set()
            await self.release.wait()

    async def _close(
        self,
        request: worker_pb2.ThinkRequest,
        ids: list[int],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[worker_pb2.ThinkEvent]:
        finished = self.script.need(request) <= len(ids)
        stop = budget_pb2.THINKING_STOP_FINISHED if finished else budget_pb2.THINKING_STOP_EXHAUSTED
        if self.script.give_up:
            yield worker_pb2.ThinkEvent(done=worker_pb2.ThinkDone())
            return
        if not finished and not request.answer_on_exhaustion:
            usage = self._usage(request, ids, 0)
            yield worker_pb2.ThinkEvent(done=worker_pb2.ThinkDone(stop=stop, usage=usage))
            return
        for index, word in enumerate(answer_of(ids)):
            if self.script.die_in_answer and index == ANSWER_WORDS // 2:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "died")
            yield worker_pb2.ThinkEvent(answer=worker_pb2.AnswerChunk(text=word, num_tokens=1))
        done = worker_pb2.ThinkDone(
            stop=stop,
            finish_reason=budget_pb2.FINISH_REASON_STOP,
            usage=self._usage(request, ids, ANSWER_WORDS, num_forced=0 if finished else 1),
            queue_ms=1.0,
        )
        await self._settle(request, done)
        yield worker_pb2.ThinkEvent(done=done)

    def _usage(
        self, request: worker_pb2.ThinkRequest, ids: list[int], num_answer: int, num_forced: int = 0
    ) -> budget_pb2.Usage:
        thought = len(ids) - len(request.thinking_prefix_ids)
        segment = budget_pb2.Usage(
            prompt_tokens=7,
            thinking_tokens=thought,
            forced_tokens=num_forced,
            answer_tokens=num_answer,
            gpu_seconds=thought / 1000,
            peak_kv_bytes=len(ids) * 64,
        )
        return total_usage(request, segment)

    async def _settle(self, request: worker_pb2.ThinkRequest, done: worker_pb2.ThinkDone) -> None:
        record = settlement_of(request, done, worker=self.name, finished_at_s=time.time())
        outcome = await self.ledger.settle(record)
        if isinstance(outcome, Duplicate):
            done.usage.CopyFrom(outcome.usage)
        done.settled = True


def token_at(seed: int, position: int) -> int:
    return 10 + (seed * 31 + position * position * 7) % 4_000


def answer_of(ids: list[int]) -> list[str]:
    return ["after ", f"{len(ids)} ", "tokens: ", str(sum(ids))][:ANSWER_WORDS]


@asynccontextmanager
async def serving(worker: SmallWorker, port: int = 0) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """The worker behind a real socket, and its port. Ends when its last call has settled: the
    ledger is closed next, and who used it then would leave a connection open.
    """
    server = grpc.aio.server(options=rpc.server_options())
    worker_pb2_grpc.add_WorkerServicer_to_server(worker, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield server, bound
    finally:
        await server.stop(None)
        if worker.calls:
            await asyncio.wait(worker.calls)
