"""A worker that answers at once, or after a given time: python -m router.bench.stub_worker

For measurements of what the router adds. It keeps the contract of worker.proto and settles nothing.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc

from ponder import rpc
from ponder.rpc import RpcServer, ServerConfig
from ponder.v1 import budget_pb2, worker_pb2, worker_pb2_grpc

THINKING_TOKENS = 16
_SERVICE = worker_pb2.DESCRIPTOR.services_by_name["Worker"].full_name
_REPORT_S = 0.8


class StubWorker(worker_pb2_grpc.WorkerServicer):
    """One chunk of thinking, the answer, the end. `work_s` passes before, without the processor."""

    def __init__(self, model: str, work_s: float) -> None:
        self._model = model
        self._work_s = work_s

    async def Think(
        self, request: worker_pb2.ThinkRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[worker_pb2.ThinkEvent]:
        await context.send_initial_metadata(())
        if self._work_s:
            await asyncio.sleep(self._work_s)
        ids = range(THINKING_TOKENS)
        yield worker_pb2.ThinkEvent(thinking=worker_pb2.ThinkingChunk(ids=ids))
        yield worker_pb2.ThinkEvent(answer=worker_pb2.AnswerChunk(text="42", num_tokens=1))
        usage = budget_pb2.Usage(thinking_tokens=THINKING_TOKENS, answer_tokens=1)
        done = worker_pb2.ThinkDone(
            stop=budget_pb2.THINKING_STOP_FINISHED,
            finish_reason=budget_pb2.FINISH_REASON_STOP,
            usage=usage,
            settled=True,
        )
        yield worker_pb2.ThinkEvent(done=done)

    async def Watch(
        self, request: worker_pb2.WatchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[worker_pb2.Load]:
        while True:
            yield worker_pb2.Load(models=[self._model], max_running=4_096)
            await asyncio.sleep(_REPORT_S)


async def _serve(address: str, model: str, work_s: float) -> None:
    server = RpcServer(
        ServerConfig(
            address=address,
            services=(_SERVICE,),
            endless_methods=(f"/{_SERVICE}/Watch",),
            notice_s=0.0,
            grace_s=1.0,
        )
    )
    worker_pb2_grpc.add_WorkerServicer_to_server(StubWorker(model, work_s), server.grpc_server)
    await rpc.serve(server)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work-s", type=float, default=0.0)
    options = parser.parse_args()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    asyncio.run(_serve(options.listen, options.model, options.work_s))
