"""Trial answers of one request, upstream: a second call beside its thinking, now and then.

When to try and what a trial is worth is for workers.early_exit, as in the engine; here trials are
calls. A trial is fed the thinking up to a place where a step ended, then the close, and answers
greedily; with prefix caching it costs the few tokens that it samples. A trial that fails, or is so
slow that the next would be due, is dropped; the thinking does not notice.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from workers.early_exit.judge import Agreement
from workers.early_exit.trial import TrialOutcome, TrialReader
from workers.early_exit.watch import Watch
from workers.engine import EngineRequest, ThinkingStop
from workers.upstream.dialects import Call, End, Piece
from workers.upstream.early_exit import NUM_LIKELY, TrialPlan
from workers.upstream.errors import UpstreamTrouble
from workers.upstream.markers import Markers
from workers.upstream.meter import Meter
from workers.upstream.outbox import Outbox
from workers.upstream.token_source import TokenSource

_log = logging.getLogger(__name__)

OnStop = Callable[[ThinkingStop], None]


class Trial:
    """One trial answer, read as it comes. `thinking_tokens`: the place that it was tried at."""

    def __init__(
        self, reader: TrialReader, thinking_tokens: int, num_fed: int, *, by_repetition: bool
    ) -> None:
        self.by_repetition = by_repetition
        self.thinking_tokens = thinking_tokens
        self._reader = reader
        self._num_fed = num_fed
        self._num_sampled = 0
        self._ids: tuple[int, ...] = ()
        self._logprob = 0.0
        self._entropy = float("inf")  # of no token: it ended at once

    @property
    def spent_tokens(self) -> int:
        """Computed for it alone: fed and sampled, none before the server has begun."""
        return self._num_fed + self._num_sampled if self._num_sampled else 0

    def read(self, item: Piece | End) -> TrialOutcome | None:
        """What came of it; None while it is not known."""
        if isinstance(item, Piece):
            return self._take(item)
        if item is not End.LIMIT:
            self._num_sampled += 1  # the end of the answer
        if not self._ids:
            return self._outcome(0.0, ())
        return self._outcome(self._reader.confidence(self._logprob, len(self._ids)), self._ids)

    def _take(self, piece: Piece) -> TrialOutcome | None:
        if not self._ids:
            self._entropy = piece.odds[0].entropy
        self._ids += piece.ids
        self._num_sampled += len(piece.ids)
        self._logprob += sum(odds.logprob for odds in piece.odds)
        is_hopeless = self._reader.is_hopeless(self._entropy, self._logprob)
        return self._outcome(0.0, ()) if is_hopeless else None

    def _outcome(self, confidence: float, answer_ids: tuple[int, ...]) -> TrialOutcome:
        return TrialOutcome(
            thinking_tokens=self.thinking_tokens,
            entropy=self._entropy,
            confidence=confidence,
            answer_ids=answer_ids,
            num_sampled=self._num_sampled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialParts:
    """What the trials of every request work with. `room`: for so many at once."""

    plan: TrialPlan
    source: TokenSource
    markers: Markers
    meter: Meter
    room: asyncio.Semaphore


class Trials:
    """Those of one request, one at a time."""

    def __init__(
        self, parts: TrialParts, request: EngineRequest, outbox: Outbox, on_stop: OnStop
    ) -> None:
        """`on_stop` is told when the thinking has done its work; what came since a sure trial was
        begun waits in the outbox then.
        """
        rules = parts.plan.rules
        self._parts = parts
        self._request = request
        self._outbox = outbox
        self._on_stop = on_stop
        self._reader = TrialReader(rules)
        self._watch: Watch[Trial] = Watch(
            rules, Agreement(rules), request.thinking_budget, request.thinking_prefix_ids
        )
        self._begun: list[Trial] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def spent_tokens(self) -> int:
        """Of all trials so far."""
        return sum(trial.spent_tokens for trial in self._begun)

    def feed(self, piece: Piece, ids_before: tuple[int, ...]) -> None:
        """The next thinking; a trial may begin before it, after `ids_before`.

        Where a piece has several tokens a step ends with the last.
        """
        ends_step = any(text in piece.text for text in self._parts.plan.rules.separators)
        for place, token in enumerate(piece.ids, start=1):
            self._watch.feed(token, ends_step=ends_step and place == len(piece.ids))
            if place == 1 and self._watch.wants_trial:
                self._begin(ids_before)
        self._drop_if_slow()

    def close(self) -> None:
        """The thinking has ended: what a trial says now does not matter."""
        if self._task is not None:
            self._task.cancel()

    def _begin(self, ids_before: tuple[int, ...]) -> None:
        """Without room there is no trial: the thinking goes on."""
        parts, watch = self._parts, self._watch
        if parts.room.locked():
            return
        place, num_fed = watch.thinking_tokens - 1, len(parts.plan.fed_ids)
        trial = Trial(self._reader, place, num_fed, by_repetition=watch.repeats)
        self._begun.append(trial)
        watch.begin(trial)
        self._outbox.hold()
        self._task = asyncio.create_task(self._run(trial, self._call(ids_before)))

    def _call(self, ids_before: tuple[int, ...]) -> Call:
        plan = self._parts.plan
        return Call(
            prompt_ids=(*ids_before, *plan.fed_ids),
            max_tokens=min(plan.rules.max_trial_tokens, self._request.max_answer_tokens),
            temperature=0.0,
            top_p=1.0,
            seed=0,
            banned_ids=self._parts.markers.reserved_ids,
            num_likely=NUM_LIKELY,
        )

    async def _run(self, trial: Trial, call: Call) -> None:
        try:
            async with self._parts.room, aclosing(self._parts.source.once(call)) as items:
                async for item in items:
                    if isinstance(item, Piece):
                        self._parts.meter.record_trial(len(item.ids))
                    outcome = trial.read(item)
                    if outcome is not None:
                        self._end(trial, outcome)  # before the call is closed, which may take long
                        return
        except UpstreamTrouble as error:
            if self._watch.trial is trial:  # else it had said all when its call broke
                self._lose(str(error))

    def _end(self, trial: Trial, outcome: TrialOutcome) -> None:
        _log.debug(
            "a trial after %d tokens: entropy %.3f, confidence %.3f",
            outcome.thinking_tokens,
            outcome.entropy,
            outcome.confidence,
        )
        stop = self._watch.end(outcome, by_repetition=trial.by_repetition)
        if stop is not ThinkingStop.CONFIDENT:
            self._outbox.release()
        if stop is not None:
            self._on_stop(stop)

    def _drop_if_slow(self) -> None:
        trial = self._watch.trial
        if trial is None or self._task is None:
            return
        if (
            self._watch.thinking_tokens - trial.thinking_tokens
            > self._parts.plan.rules.max_gap_tokens
        ):
            self._task.cancel()
            self._lose("it is slower than the thinking")

    def _lose(self, reason: str) -> None:
        _log.debug("a trial was dropped: %s", reason)
        self._parts.meter.trials_dropped += 1
        self._watch.lose()
        self._outbox.release()
