"""What `ponder demo` does with a running stack: plan, ask, judge, give feedback, plan again."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from ponder.cli.client import RequestFailed, failure
from ponder.cli.questions import Question
from ponder.v1.budget_pb2 import Sampling
from ponder.v1.reasoner_pb2 import (
    Decision,
    FeedbackRequest,
    PlanRequest,
    ReasonReply,
    ReasonRequest,
)

if TYPE_CHECKING:
    from ponder.v1.reasoner_pb2_grpc import ReasonerAsyncStub

# Enough at once to see batching, few enough for the times to mean something.
_MAX_CONCURRENT = 4
_QUESTION_TIMEOUT_S = 75.0
_CALL_TIMEOUT_S = 5.0
_REPLAN_S = 0.25
# Fixed, so that the demo says the same every time.
_SAMPLING = Sampling(seed=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One question: answered and judged, or failed. Exactly one of reply and error is set."""

    question: Question
    reply: ReasonReply | None = None
    error: RequestFailed | None = None
    is_right: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The decision for one prompt before the questions were asked, and after."""

    prompt: str
    before: Decision
    after: Decision

    @property
    def has_moved(self) -> bool:
        """Whether the predicted distribution is another one."""
        return list(self.before.survival) != list(self.after.survival)

    @property
    def may_move(self) -> bool:
        """Without a prediction nothing can."""
        return bool(self.before.survival)


class DemoRun:
    """Talks to one router. `on_outcome` hears of every question when it is done."""

    def __init__(self, stub: "ReasonerAsyncStub", on_outcome: Callable[[Outcome], None]) -> None:
        self._stub = stub
        self._on_outcome = on_outcome
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)

    async def ask_all(self, questions: Sequence[Question]) -> list[Outcome]:
        """In the order of the questions. A failed question is an outcome too."""
        return await asyncio.gather(*map(self._ask_in_turn, questions))

    async def plan_all(self, prompts: Sequence[str]) -> list[Decision]:
        """The decisions of this moment."""
        replies = await asyncio.gather(*map(self._plan, prompts))
        return list(replies)

    async def shifts(
        self, prompts: Sequence[str], before: Sequence[Decision], timeout_s: float
    ) -> list[Shift]:
        """Plans again until every prediction has moved, or the time is up."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + timeout_s
        while True:
            after = await self.plan_all(prompts)
            found = [
                Shift(prompt=prompt, before=old, after=new)
                for prompt, old, new in zip(prompts, before, after, strict=True)
            ]
            if all(s.has_moved or not s.may_move for s in found) or loop.time() > give_up_s:
                return found
            await asyncio.sleep(_REPLAN_S)

    async def _ask_in_turn(self, question: Question) -> Outcome:
        async with self._slots:
            outcome = await self._ask(question)
        self._on_outcome(outcome)
        return outcome

    async def _ask(self, question: Question) -> Outcome:
        try:
            reply = await self._stub.Reason(_request(question), timeout=_QUESTION_TIMEOUT_S)
            is_right = question.is_right(reply.answer)
            await self._stub.Feedback(
                FeedbackRequest(request_id=reply.request_id, correct=is_right),
                timeout=_CALL_TIMEOUT_S,
            )
        except grpc.aio.AioRpcError as error:
            return Outcome(question=question, error=failure(error))
        return Outcome(question=question, reply=reply, is_right=is_right)

    async def _plan(self, prompt: str) -> Decision:
        request = ReasonRequest(prompt=prompt, sampling=_SAMPLING)
        reply = await self._stub.Plan(PlanRequest(request=request), timeout=_CALL_TIMEOUT_S)
        return reply.decision


def _request(question: Question) -> ReasonRequest:
    return ReasonRequest(
        request_id=f"demo-{uuid.uuid4().hex}",
        prompt=question.prompt,
        thinking_budget=question.budget_tokens,
        tier=question.tier,
        coverage=question.coverage,
        sampling=_SAMPLING,
    )
