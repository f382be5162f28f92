"""Clients that ask all the time, and remember to the token what they were told."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import grpc

from ponder.cli.chaos.fleet import MODEL, ROUTERS, TENANT, WORKERS, Fleet, Member, open_channel
from ponder.cli.chaos.stand_in import NEED_BITS
from ponder.v1 import budget_pb2, reasoner_pb2, reasoner_pb2_grpc, worker_pb2, worker_pb2_grpc
from ponder.v1.budget_pb2 import Sampling, Usage

TIMEOUT_S: Final = 60.0
_PAUSE_S: Final = 0.05
# A reply that says "try again" is obeyed, by a client that is in no hurry.
_SHED_PAUSE_S: Final = 0.2
_PROMPTS: Final = (
    "What is the capital of France?",
    "Solve 3x + 5 = 20",
    "How much is 47 - 9 + 11 - 12 + 10?",
    "Reach 24 using each of 3, 5, 6 and 8 once.",
    "Reach 87 using each of 9, 10, 5, 6, 12 and 1 once.",
)
Stub = Any  # the generated stubs type only their blocking form
Ask = Callable[[int], Any]


@dataclass
class Traffic:
    """What clients asked for in one scenario, and what became of it.

    A call that lost its router (or, asked directly, its worker) is repeated elsewhere with the
    same request id. Any other failure counts: somebody else was there to answer.
    """

    fleet: Fleet
    rng: Random
    prefix: str
    told: dict[str, Usage] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    num_asked: int = 0
    num_shed: int = 0
    num_quarantined: int = 0
    num_repeated: int = 0
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    # Asking

    async def reason(self, number: int, need_tokens: int | None = None) -> None:
        """One request through a router, repeated until it is answered, shed or failed."""
        request = self._request(number, need_tokens)
        while True:
            name, member = self._choose(ROUTERS)
            num_ends = member.num_ends
            try:
                reply = await self._reasoner(name).Reason(
                    request, timeout=TIMEOUT_S, wait_for_ready=True
                )
            except grpc.aio.AioRpcError as error:
                if await self._should_repeat(error, member.num_ends != num_ends):
                    continue
                return
            self.told[request.request_id] = reply.usage
            return

    async def think(self, number: int) -> None:
        """One request straight to a worker: what a router does, without its price."""
        request = self._think_request(number)
        while True:
            name, member = self._choose(WORKERS)
            num_ends = member.num_ends
            try:
                usage = await self._settled_usage(name, request)
            except grpc.aio.AioRpcError as error:
                if await self._should_repeat(error, member.num_ends != num_ends):
                    continue
                return
            self.told[request.request_id] = usage
            return

    async def first_event_s(self, number: int, stopped: "asyncio.Future[float]") -> float | None:
        """Streams a long request; how long after `stopped`, a time, its next event came.

        None when it had ended before.
        """
        request = self._request(number, need_tokens=1_900)
        request.tier = budget_pb2.TIER_COMPLEX
        call = self._reasoner(self._choose(ROUTERS)[0]).ReasonStream(request, timeout=TIMEOUT_S)
        waited_s: float | None = None
        async for event in call:
            if stopped.done() and waited_s is None:
                waited_s = time.monotonic() - stopped.result()
            if event.WhichOneof("event") == "final":
                self.told[request.request_id] = event.final.usage
        return waited_s

    @asynccontextmanager
    async def running(self, num_clients: int, ask: Ask | None = None) -> AsyncIterator[None]:
        """So many clients ask one request after another; at the end each finishes its last."""
        stop = asyncio.Event()
        asking = [
            asyncio.create_task(self._ask_until(stop, ask or self.reason))
            for _ in range(num_clients)
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*asking)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    def next_number(self) -> int:
        self.num_asked += 1
        return self.num_asked

    async def _ask_until(self, stop: asyncio.Event, ask: Ask) -> None:
        while not stop.is_set():
            await ask(self.next_number())

    # What a failure means

    async def _should_repeat(self, error: grpc.aio.AioRpcError, lost_its_server: bool) -> bool:
        if lost_its_server:
            self.num_repeated += 1
            return True
        if error.code() is grpc.StatusCode.ALREADY_EXISTS:
            await asyncio.sleep(_PAUSE_S)
            return True
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self.num_shed += 1
            await asyncio.sleep(_SHED_PAUSE_S)
            return False
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            # It was on two workers that were killed: given up, as is promised.
            self.num_quarantined += 1
            return False
        self.failed[f"{error.code().name}: {error.details()}"] += 1
        await asyncio.sleep(_PAUSE_S)
        return False

    # Requests

    def _request(self, number: int, need_tokens: int | None) -> reasoner_pb2.ReasonRequest:
        rng = Random(f"{self.prefix}-{number}")
        need = need_tokens or min(1_500, int(rng.lognormvariate(4.0, 1.2)) + 1)
        seed = rng.getrandbits(20) << NEED_BITS | need
        request = reasoner_pb2.ReasonRequest(
            request_id=f"{self.prefix}-{number}",
            prompt=rng.choice(_PROMPTS),
            sampling=Sampling(seed=seed),
        )
        if need_tokens is not None or rng.random() < 0.2:
            request.tier = budget_pb2.TIER_COMPLEX
        return request

    def _think_request(self, number: int) -> worker_pb2.ThinkRequest:
        rng = Random(f"{self.prefix}-{number}")
        need = rng.randrange(1, 100)
        return worker_pb2.ThinkRequest(
            request_id=f"{self.prefix}-{number}",
            model=MODEL,
            prompt=_PROMPTS[0],
            thinking_budget=500,
            max_answer_tokens=64,
            sampling=Sampling(seed=rng.getrandbits(20) << NEED_BITS | need),
            answer_on_exhaustion=True,
            settlement=worker_pb2.Settlement(
                tenant=TENANT,
                tier=budget_pb2.TIER_MODERATE,
                pool=budget_pb2.POOL_EASY,
                rule=reasoner_pb2.RULE_AUTOMATIC,
                propensity=1.0,
                prior_hazards=[0.1] * 9,
                predicted_bin=3,
                classifier_version="chaos",
            ),
        )

    async def _settled_usage(self, name: str, request: worker_pb2.ThinkRequest) -> Usage:
        stub: Stub = worker_pb2_grpc.WorkerStub(self._channel(name))
        call = stub.Think(request, timeout=TIMEOUT_S, wait_for_ready=True)
        usage = Usage()
        async for event in call:
            if event.WhichOneof("event") == "done":
                usage = event.done.usage
        return usage

    # Connections

    def _choose(self, names: tuple[str, ...]) -> tuple[str, Member]:
        """One that serves, as its health says; any while none does."""
        members = self.fleet.members
        name = self.rng.choice([one for one in names if members[one].is_serving] or names)
        return name, members[name]

    def _reasoner(self, name: str) -> Stub:
        return reasoner_pb2_grpc.ReasonerStub(self._channel(name))

    def _channel(self, name: str) -> grpc.aio.Channel:
        if name not in self._channels:
            self._channels[name] = open_channel(self.fleet.members[name].address)
        return self._channels[name]
