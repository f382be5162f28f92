"""One Think call between engine and ledger: from its prompt to its settlement.

It runs in a task of its own, because what a cancelled call has spent is settled too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum

from ponder.tracing import UNTRACED, Trace
from ponder.v1 import budget_pb2, worker_pb2
from workers.accounts import Accounts
from workers.backend import Backend, PromptEncoder, TextDecoder
from workers.deadline import Deadline
from workers.engine import EngineError, EngineOutput, Finished
from workers.errors import WorkerError
from workers.load import LoadFeed
from workers.messages import done_before_start, done_of, end_early
from workers.telemetry import Phases, WorkerTelemetry, of_done, segment_fields

_log = logging.getLogger(__name__)
_NOT_FINAL = budget_pb2.FINISH_REASON_UNSPECIFIED
# Answers are short beside the thinking; the router keeps as much when it sets the budget.
_ANSWER_RESERVE_TOKENS = 32
# For the forced close, and for steps that take longer than those before.
_ANSWER_RESERVE_S = 0.03
_CUT_SHORT = (_NOT_FINAL, budget_pb2.FINISH_REASON_CANCELLED)


class Cut(Enum):
    """What ended a segment before its time."""

    CALLER = "caller"
    DEADLINE = "deadline"
    # The worker gives the call up: the router resumes it elsewhere, and that settles it.
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What every segment works with."""

    engine: Backend
    prompts: PromptEncoder
    accounts: Accounts
    feed: LoadFeed
    telemetry: WorkerTelemetry


class Segment:
    """One stretch of a request. `run` is awaited by the owner, `events` read by the call.

    Tokens wait in lists until the call takes them, so a slow reader gets fewer, larger chunks; the
    lists hold at most what the request may produce.
    """

    def __init__(
        self,
        request: worker_pb2.ThinkRequest,
        engine_id: str,
        workshop: Workshop,
        trace: Trace = UNTRACED,
    ) -> None:
        """`trace` ends with the segment."""
        self._request = request
        self._engine_id = engine_id
        self._workshop = workshop
        self._trace = trace
        self._phases = Phases(trace)
        self._cut: Cut | None = None
        self._must_answer = False
        self._call_ended = asyncio.Event()
        self._arrived = asyncio.Event()
        self._thinking = _Unsent()
        self._answer = _Unsent()
        self._done: worker_pb2.ThinkDone | None = None
        self._failure: Exception | None = None

    async def run(self, remaining_s: float | None) -> None:
        """Thinks, answers, settles; ends by the deadline, `remaining_s` from now. Never raises."""
        deadline = None if remaining_s is None else self._deadline(remaining_s)
        with self._trace:
            try:
                await self._conclude(await self._think())
            except (EngineError, WorkerError) as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - the outermost loop of a segment; the call fails
                _log.exception("a segment failed")
                self._fail(error)
            finally:
                if deadline is not None:
                    deadline.cancel()
                self._workshop.feed.notify()

    def cut(self, by: Cut) -> None:
        """Ends the segment now; its memory is free within one step. The first cut counts."""
        if self._cut is None:
            self._cut = by
            self._workshop.engine.abort(self._engine_id)

    def end_call(self, cut: Cut | None) -> None:
        """The call has ended: `cut` None when it got everything, else why it did not."""
        if cut is not None:
            self.cut(cut)
        self._call_ended.set()

    async def events(self) -> AsyncIterator[worker_pb2.ThinkEvent]:
        """What the segment produces, ThinkDone last.

        Raises EngineError or WorkerError when it fails; what came before the failure is sent first.
        """
        thinking = self._workshop.prompts.text_stream()
        answer = self._workshop.prompts.text_stream()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            # All of it before the first yield: more may arrive while a chunk is being sent, and an
            # answer must not overtake the thinking that came before it.
            failure, done = self._failure, self._done
            thought, self._thinking = self._thinking, _Unsent()
            answered, self._answer = self._answer, _Unsent()
            thinking_ends = bool(answered.ids) or done is not None
            if thought.ids or (thinking_ends and thinking.holds_text):
                yield self._thinking_event(thought, thinking, is_last=thinking_ends)
            if answered.ids or (done is not None and answer.holds_text):
                yield _answer_event(answered, answer, is_last=done is not None)
            if failure is not None:
                raise failure
            if done is not None:
                yield worker_pb2.ThinkEvent(done=done)
                return

    def _thinking_event(
        self, unsent: "_Unsent", decoder: TextDecoder, *, is_last: bool
    ) -> worker_pb2.ThinkEvent:
        chunk = worker_pb2.ThinkingChunk(ids=unsent.ids)
        if self._request.include_thinking:
            chunk.text = unsent.shown(decoder, is_last=is_last)
        return worker_pb2.ThinkEvent(thinking=chunk)

    # Producing

    def _deadline(self, remaining_s: float) -> Deadline:
        return Deadline(
            remaining_s,
            answer_s=self._answer_s,
            close=self._close_thinking,
            end=lambda: self.cut(Cut.DEADLINE),
        )

    def _close_thinking(self) -> None:
        self._must_answer = True
        self._workshop.engine.close_thinking(self._engine_id)

    def _answer_s(self) -> float:
        """Time to keep for the answer, as fast as tokens come now."""
        tokens = min(self._request.max_answer_tokens, _ANSWER_RESERVE_TOKENS)
        return tokens * self._workshop.engine.load().time_per_output_token_s + _ANSWER_RESERVE_S

    async def _think(self) -> worker_pb2.ThinkDone:
        workshop, request = self._workshop, self._request
        # Long prompts take long to encode.
        engine_request = await asyncio.to_thread(
            workshop.prompts.engine_request, request, self._engine_id
        )
        if self._cut is not None:
            return done_before_start(request)
        if self._must_answer:  # the engine did not know the request yet when it was told
            engine_request = engine_request.closing()
        finished: Finished | None = None
        self._phases.submitted()
        async for output in workshop.engine.submit(engine_request):
            self._take(output)
            finished = output.finished
        assert finished is not None, "the engine's last output says how it finished"
        self._phases.finished(finished)
        return done_of(request, finished)

    def _take(self, output: EngineOutput) -> None:
        self._thinking.add(output.thinking_ids, output.thinking_text)
        self._answer.add(output.answer_ids, output.answer_text)
        if output.answer_ids:
            self._phases.answering()
        self._arrived.set()

    async def _conclude(self, done: worker_pb2.ThinkDone) -> None:
        """Settles before the end is told. An end that is not final is told and left open: whoever
        cancels the call before it is delivered has ended the request after all.
        """
        if done.finish_reason != _NOT_FINAL or self._cut is not None:
            await self._settle(done)
        self._trace.note(of_done, done)
        self._workshop.telemetry.record_segment(self._request, done)
        self._done = done
        self._arrived.set()
        if done.finish_reason == _NOT_FINAL:
            await self._call_ended.wait()
            if self._cut is not None:
                await self._settle(done)

    async def _settle(self, done: worker_pb2.ThinkDone) -> None:
        if done.finish_reason in _CUT_SHORT:
            if self._cut is Cut.WORKER:
                return
            end_early(done, by_deadline=self._cut is Cut.DEADLINE)
        with self._trace.child("settle"):
            await self._workshop.accounts.settle(self._request, done)
        _log.info("request ended", extra={"fields": segment_fields(self._request, done)})

    def _fail(self, error: Exception) -> None:
        self._trace.fail(type(error).__name__)
        self._failure = error
        self._arrived.set()


@dataclass(slots=True)
class _Unsent:
    """Tokens that wait for the call; `text` is empty when they are decoded here."""

    ids: list[int] = field(default_factory=list)
    text: str = ""

    def add(self, ids: tuple[int, ...], text: str) -> None:
        self.ids.extend(ids)
        self.text += text

    def shown(self, decoder: TextDecoder, *, is_last: bool) -> str:
        return self.text + decoder.feed(self.ids) + (decoder.flush() if is_last else "")


def _answer_event(unsent: _Unsent, decoder: TextDecoder, *, is_last: bool) -> worker_pb2.ThinkEvent:
    text = unsent.shown(decoder, is_last=is_last)
    return worker_pb2.ThinkEvent(
        answer=worker_pb2.AnswerChunk(text=text, num_tokens=len(unsent.ids))
    )
