"""One request upstream: think until the budget, close, answer. Two calls, more if some break.

The budget is the limit of the first call, so the server holds it and this holds the server to it;
the thinking is cut there, not where a step ends before it. The servers' own thinking budgets are
not used: they do not hold in every version and with every way of sampling (vLLM issues 39573, 43708
and 50473, SGLang issues 25536 and 26330).

A thinking that a sure trial stops ends at the place of the trial: there the answer is known, and
its confidence was measured. What was thought since is discarded, and counted with the trials.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from workers.engine import EngineRequest, Finished, FinishReason, ThinkingStop, Usage
from workers.upstream.dialects import Call, End, Piece
from workers.upstream.markers import Markers
from workers.upstream.meter import Meter
from workers.upstream.outbox import Outbox
from workers.upstream.token_source import TokenSource
from workers.upstream.trials import TrialParts, Trials

_SEED_RANGE = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every run works with. `trials`: None when thinking does not stop early."""

    source: TokenSource
    markers: Markers
    meter: Meter
    clock: Callable[[], float]
    trials: TrialParts | None = None


class Run:
    """Counts and state of one request; what it produces goes to its outbox."""

    def __init__(self, request: EngineRequest, parts: Parts, outbox: Outbox) -> None:
        self._request = request
        self._source, self._markers = parts.source, parts.markers
        self._meter, self._clock = parts.meter, parts.clock
        self._outbox = outbox
        self._ids = tuple(request.prompt_ids)
        self._num_thought = len(request.thinking_prefix_ids)
        self._num_answered = 0
        self._num_forced = 0
        self._stop = ThinkingStop.NONE
        self._is_closed = False  # by the model, whose marker is not forced
        self._closes = False
        self._thinking: asyncio.Task[ThinkingStop] | None = None
        self._trials = (
            None
            if parts.trials is None
            else Trials(parts.trials, request, outbox, self._stop_early)
        )
        self._cut_by = ThinkingStop.EXHAUSTED  # how a thinking stops that is cut
        self._num_discarded = 0
        self._answers_on_exhaustion = request.answer_on_exhaustion
        self._arrived_s = parts.clock()
        self._began_s: float | None = None
        self._first_token_s: float | None = None
        self._newest_s = 0.0

    def close_soon(self) -> None:
        """Cut the thinking here; an answer follows whatever was asked for."""
        self._closes = self._answers_on_exhaustion = True
        if self._thinking is not None:
            self._thinking.cancel()

    async def go(self) -> None:
        """From the prompt to the last output. Cancelling it closes the call upstream."""
        self._began_s = self._newest_s = self._clock()
        self._open()
        await self._think()
        if self._stop is ThinkingStop.EXHAUSTED and not self._answers_on_exhaustion:
            self._outbox.finish(self._finished(FinishReason.EXHAUSTED))
            return
        self._close()
        self._outbox.finish(self._finished(await self._answer()))

    def cancelled(self) -> None:
        """Its last output, when it was cut."""
        if self._stop is ThinkingStop.NONE:
            self._stop = ThinkingStop.CANCELLED
        self._outbox.finish(self._finished(FinishReason.CANCELLED))

    def _open(self) -> None:
        if not self._request.prompt_opens_thinking:
            self._feed(self._markers.open_ids)
        self._ids += tuple(self._request.thinking_prefix_ids)

    def _close(self) -> None:
        if self._is_closed:
            self._ids += self._markers.close_ids
        elif self._stop in (ThinkingStop.FINISHED, ThinkingStop.CONFIDENT):
            self._feed(self._markers.close_ids)
        else:
            self._feed(self._markers.forced_close_ids)

    def _feed(self, ids: tuple[int, ...]) -> None:
        self._ids += ids
        self._num_forced += len(ids)

    async def _think(self) -> None:
        """A task of its own, so that a deadline can cut it while the server is silent."""
        left = self._request.thinking_budget - self._num_thought
        if left == 0 or self._closes:
            self._stop = ThinkingStop.EXHAUSTED
            return
        self._thinking = asyncio.create_task(self._sample_thinking(left))
        try:
            await asyncio.wait([self._thinking])
        finally:
            self._thinking.cancel()
            if self._trials is not None:
                self._trials.close()
        is_cut = self._thinking.cancelled()
        self._stop = self._cut_by if is_cut else self._thinking.result()
        if self._stop is ThinkingStop.CONFIDENT:
            self._discard()

    def _stop_early(self, stop: ThinkingStop) -> None:
        assert self._thinking is not None, "trials run beside the thinking"
        self._cut_by = stop
        self._thinking.cancel()

    def _discard(self) -> None:
        """Go back to where the answer was sure."""
        count = self._outbox.discard()
        self._ids = self._ids[: len(self._ids) - count]
        self._num_thought -= count
        self._num_discarded += count

    async def _sample_thinking(self, max_tokens: int) -> ThinkingStop:
        banned = self._banned_in_thinking
        call = self._call(max_tokens, stop_id=self._markers.close_id, banned=banned)
        async with aclosing(self._source.sample(call)) as items:
            async for item in items:
                if isinstance(item, End):
                    self._is_closed = item is End.STOP_ID
                    is_cut = item is End.LIMIT
                    return ThinkingStop.EXHAUSTED if is_cut else ThinkingStop.FINISHED
                if self._trials is not None:
                    self._trials.feed(item, self._ids)
                self._count(item)
                self._num_thought += len(item.ids)
                self._outbox.think(item)
        raise AssertionError("a source says how it ended")

    @property
    def _banned_in_thinking(self) -> tuple[int, ...]:
        """No second opening."""
        opens = self._markers.open_ids
        return opens if len(opens) == 1 else ()

    async def _answer(self) -> FinishReason:
        """An answer is never empty: an end that comes at once is asked to come later."""
        reason = await self._sample_answer(self._request.max_answer_tokens)
        if self._num_answered == 0:
            reason = await self._sample_answer(1, bans_end=True)
            left = self._request.max_answer_tokens - self._num_answered
            if left:
                reason = await self._sample_answer(left)
        return reason

    async def _sample_answer(self, max_tokens: int, bans_end: bool = False) -> FinishReason:
        banned = self._markers.reserved_ids
        call = self._call(max_tokens, banned=banned, bans_end=bans_end)
        async with aclosing(self._source.sample(call)) as items:
            async for item in items:
                if isinstance(item, End):
                    return FinishReason.LENGTH if item is End.LIMIT else FinishReason.STOP
                self._count(item)
                self._num_answered += len(item.ids)
                self._outbox.answer(item)
        raise AssertionError("a source says how it ended")

    def _call(
        self,
        max_tokens: int,
        *,
        stop_id: int | None = None,
        banned: tuple[int, ...] = (),
        bans_end: bool = False,
    ) -> Call:
        return Call(
            prompt_ids=self._ids,
            max_tokens=max_tokens,
            temperature=self._request.temperature,
            top_p=self._request.top_p,
            seed=self._request.seed % _SEED_RANGE,
            stop_id=stop_id,
            banned_ids=banned,
            bans_end=bans_end,
        )

    def _count(self, piece: Piece) -> None:
        now_s = self._clock()
        if self._first_token_s is None:
            self._first_token_s = now_s - self._arrived_s
            self._meter.record_first(len(piece.ids), self._first_token_s)
        else:
            self._meter.record(len(piece.ids), now_s - self._newest_s)
        self._newest_s = now_s
        self._ids += piece.ids

    @property
    def _num_probed(self) -> int:
        spent = 0 if self._trials is None else self._trials.spent_tokens
        return spent + self._num_discarded

    def _finished(self, reason: FinishReason) -> Finished:
        now_s = self._clock() - self._arrived_s
        queue_s = now_s if self._began_s is None else self._began_s - self._arrived_s
        return Finished(
            stop=self._stop,
            reason=reason,
            usage=Usage(
                prompt_tokens=len(self._request.prompt_ids),
                thinking_tokens=self._num_thought,
                forced_tokens=self._num_forced,
                probe_tokens=self._num_probed,
                answer_tokens=self._num_answered,
                engine_seconds=0.0,  # the servers do not tell
                peak_kv_bytes=0,
            ),
            queue_s=queue_s,
            first_token_s=now_s if self._first_token_s is None else self._first_token_s,
        )
