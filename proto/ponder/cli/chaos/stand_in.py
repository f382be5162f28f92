"""A worker without a model: python -m ponder.cli.chaos.stand_in; for what happens around one.

Its tokens are a function of seed and position, its need the low bits of the seed. All else is real:
server, drain, ledger, spool, journal, settlement. SIGUSR1 makes it fail every call, and back.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from ponder import rpc, tasks
from ponder.ledger import Duplicate, Ledger, LedgerConfig, LedgerUnavailable
from ponder.logs import configure_logging
from ponder.rpc import RpcServer, ServerConfig
from ponder.settlement import settlement_of, total_usage
from ponder.settler import Lost, Settler
from ponder.spool import Spool
from ponder.v1 import budget_pb2, worker_pb2, worker_pb2_grpc

NEED_BITS: Final = 12
"""The need of a request, in thinking tokens, is this many low bits of its seed."""

CHUNK_TOKENS: Final = 128
_ANSWER_WORDS: Final = 3
_PROMPT_TOKENS: Final = 7
_REPORT_S: Final = 0.5
_SERVICE: Final = worker_pb2.DESCRIPTOR.services_by_name["Worker"].full_name
Context = grpc.aio.ServicerContext[Any, Any]
Event = worker_pb2.ThinkEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInConfig:
    """How one of them runs; `token_s` is the time per thinking token."""

    listen: str
    name: str
    model: str
    redis_url: str
    spool_dir: Path
    token_s: float
    max_running: int
    max_waiting: int


@dataclass
class StandIn(worker_pb2_grpc.WorkerServicer):
    """Keeps the contract of worker.proto."""

    config: StandInConfig
    settler: Settler
    server: RpcServer
    fails: bool = False
    num_failed: int = 0
    num_calls: int = 0
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.config.max_running)

    async def Think(
        self, request: worker_pb2.ThinkRequest, context: Context
    ) -> AsyncIterator[Event]:
        if self.fails:
            self.num_failed += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "told to fail")
        if self.num_calls >= self.config.max_running + self.config.max_waiting:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many wait; try again")
        self.num_calls += 1
        await context.send_initial_metadata(())
        ids = list(request.thinking_prefix_ids)
        try:
            async with self.slots:
                async for event in self._run(request, ids):
                    yield event
        except asyncio.CancelledError:
            # A drain that runs out of patience gives the call up: it goes on elsewhere.
            if not self.server.gives_up_calls:
                await self._settle(request, _cancelled(request, ids))
            raise
        finally:
            self.num_calls -= 1

    async def Watch(
        self, request: worker_pb2.WatchRequest, context: Context
    ) -> AsyncIterator[worker_pb2.Load]:
        while True:
            running = min(self.num_calls, self.config.max_running)
            yield worker_pb2.Load(
                running=running,
                waiting=self.num_calls - running,
                max_running=self.config.max_running,
                time_per_output_token_ms=self.config.token_s * 1e3,
                models=[self.config.model],
                failed_requests=self.num_failed,
            )
            await asyncio.sleep(_REPORT_S)

    async def _run(self, request: worker_pb2.ThinkRequest, ids: list[int]) -> AsyncIterator[Event]:
        need = request.sampling.seed & ((1 << NEED_BITS) - 1)
        limit = min(need, request.thinking_budget)
        while len(ids) < limit:
            chunk = range(len(ids), min(limit, len(ids) + CHUNK_TOKENS))
            await asyncio.sleep(self.config.token_s * len(chunk))
            new = [10 + (request.sampling.seed * 31 + place) % 4_000 for place in chunk]
            ids += new
            yield Event(thinking=worker_pb2.ThinkingChunk(ids=new))
        if need > len(ids) and not request.answer_on_exhaustion:
            yield Event(done=_exhausted(request, ids))
            return
        text = f"after {len(ids)} tokens"
        yield Event(answer=worker_pb2.AnswerChunk(text=text, num_tokens=_ANSWER_WORDS))
        done = _answered(request, ids, finished=need <= len(ids))
        await self._settle(request, done)
        yield Event(done=done)

    async def _settle(self, request: worker_pb2.ThinkRequest, done: worker_pb2.ThinkDone) -> None:
        record = settlement_of(request, done, worker=self.config.name, finished_at_s=time.time())
        outcome = await self.settler.settle(record)
        if isinstance(outcome, Duplicate):
            done.usage.CopyFrom(outcome.usage)
        done.settled = not isinstance(outcome, Lost)


async def run(config: StandInConfig) -> None:
    """Serves until SIGTERM, then drains."""
    ledger = Ledger.from_url(config.redis_url, LedgerConfig(max_traces=100_000_000))
    server = RpcServer(
        ServerConfig(
            address=config.listen,
            services=(_SERVICE,),
            endless_methods=(f"/{_SERVICE}/Watch",),
            notice_s=0.5,
            grace_s=10.0,
        )
    )
    with Spool(config.spool_dir) as spool:
        settler = Settler(ledger, spool)
        worker = StandIn(config=config, settler=settler, server=server)
        worker_pb2_grpc.add_WorkerServicer_to_server(worker, server.grpc_server)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _toggle, worker)
        replaying = asyncio.create_task(settler.run())
        await rpc.serve(server)
        await settler.close()
        await tasks.stop([replaying])
        with contextlib.suppress(LedgerUnavailable):
            await settler.replay()
        await ledger.close()


def _toggle(worker: StandIn) -> None:
    worker.fails = not worker.fails


def _usage(
    request: worker_pb2.ThinkRequest, ids: list[int], num_answer: int, num_forced: int
) -> budget_pb2.Usage:
    thought = len(ids) - len(request.thinking_prefix_ids)
    segment = budget_pb2.Usage(
        prompt_tokens=_PROMPT_TOKENS,
        thinking_tokens=thought,
        forced_tokens=num_forced,
        answer_tokens=num_answer,
        gpu_seconds=thought / 1_000,
    )
    return total_usage(request, segment)


def _answered(
    request: worker_pb2.ThinkRequest, ids: list[int], *, finished: bool
) -> worker_pb2.ThinkDone:
    return worker_pb2.ThinkDone(
        stop=budget_pb2.THINKING_STOP_FINISHED if finished else budget_pb2.THINKING_STOP_EXHAUSTED,
        finish_reason=budget_pb2.FINISH_REASON_STOP,
        usage=_usage(request, ids, _ANSWER_WORDS, 0 if finished else 1),
    )


def _exhausted(request: worker_pb2.ThinkRequest, ids: list[int]) -> worker_pb2.ThinkDone:
    return worker_pb2.ThinkDone(
        stop=budget_pb2.THINKING_STOP_EXHAUSTED, usage=_usage(request, ids, 0, 0)
    )


def _cancelled(request: worker_pb2.ThinkRequest, ids: list[int]) -> worker_pb2.ThinkDone:
    return worker_pb2.ThinkDone(
        stop=budget_pb2.THINKING_STOP_CANCELLED,
        finish_reason=budget_pb2.FINISH_REASON_CANCELLED,
        usage=_usage(request, ids, 0, 0),
    )


def _config() -> StandInConfig:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--listen", "--name", "--model", "--redis-url"):
        parser.add_argument(name, required=True)
    parser.add_argument("--spool-dir", type=Path, required=True)
    parser.add_argument("--token-s", type=float, default=0.000_2)
    parser.add_argument("--max-running", type=int, default=8)
    parser.add_argument("--max-waiting", type=int, default=16)
    return StandInConfig(**vars(parser.parse_args()))


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    configure_logging("warning", "text")
    asyncio.run(run(_config()))
