"""Continuous batching: which tokens run in the next step. No torch, no clock of its own.

Each step decodes every running sequence, then prefills up to a chunk of tokens: forced closes
and started prompts first, shortest first, then new admissions in order of arrival. Nothing is
admitted unless its whole prompt and the watermark fit. When pages run out, the sequence with
the least computed tokens gives its own up and is recomputed later.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.config import EngineConfig
from workers.engine.errors import InvalidRequest, QueueFull
from workers.engine.request import EngineOutput
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable
from workers.engine.thinking import Phase, Verdict


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start` to `end` of one sequence, to be prefilled."""

    sequence: Sequence
    start: int
    end: int

    @property
    def num_tokens(self) -> int:
        return self.end - self.start

    @property
    def samples(self) -> bool:
        """Whether the last token of the chunk is the last of the sequence."""
        return self.end == len(self.sequence.ids)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step. Tokens are sampled for `sampled`: decode rows first, then finished chunks."""

    decode: list[Sequence]
    chunks: list[Chunk]
    sampled: list[Sequence]
    sampled_slots: NDArray[np.int64]

    @property
    def decode_slots(self) -> NDArray[np.int64]:
        return self.sampled_slots[: len(self.decode)]

    @property
    def num_tokens(self) -> int:
        return len(self.decode) + sum(chunk.num_tokens for chunk in self.chunks)

    @property
    def is_empty(self) -> bool:
        return not self.decode and not self.chunks


@dataclass(frozen=True, slots=True)
class StepResult:
    """The sampled tokens, in the order of `StepPlan.sampled`, and when the step ended."""

    tokens: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    ended_s: float
    duration_s: float


class Scheduler:
    """Owns the sequences, their slots and their pages."""

    def __init__(
        self, config: EngineConfig, geometry: KvGeometry, pool: PagePool, slots: SlotTable
    ) -> None:
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.num_preemptions = 0
        self._config = config
        self._geometry = geometry
        self._pool = pool
        self._slots = slots
        self._watermark_pages = int(config.watermark * pool.capacity)

    @property
    def has_work(self) -> bool:
        return bool(self.running or self.waiting)

    def add(self, sequence: Sequence, max_tokens: int) -> None:
        """Queue a sequence that will never be longer than `max_tokens`.

        Raises:
            InvalidRequest: it could never run.
            QueueFull: too many wait.
        """
        pages = self._geometry.resident_pages(max_tokens)
        if pages > self._pool.capacity:
            raise InvalidRequest(
                f"the request needs {pages} KV pages and the pool has {self._pool.capacity}: "
                "lower thinking_budget or max_answer_tokens, or raise num_pages"
            )
        if len(self.waiting) >= self._config.max_waiting:
            raise QueueFull(f"{len(self.waiting)} requests wait already (max_waiting)")
        self.waiting.append(sequence)

    def abort(self, request_id: str, now_s: float) -> EngineOutput | None:
        """End a request now and free what it holds; None when it is not here."""
        sequence = self._find(request_id)
        if sequence is None:
            return None
        sequence.thinking.cancel()
        if not sequence.is_running:
            self.waiting.remove(sequence)
        self._retire(sequence)
        return sequence.take_output(now_s, self._geometry.bytes_per_page)

    def close_thinking(self, request_id: str) -> None:
        """Let a request that thinks go on to its answer; an unknown id is not an error."""
        if (sequence := self._find(request_id)) is not None:
            sequence.thinking.close_soon()

    def plan(self, now_s: float) -> StepPlan:
        """Choose what runs next and give it pages."""
        preemptions = self.num_preemptions
        decode = [s for s in tuple(self.running) if s.num_uncomputed == 1 and self._grow(s, 1)]
        chunks = list(self._plan_prefill(now_s, preemptions))
        if self.num_preemptions > preemptions:
            # A row may have lost its pages to one that was planned after it.
            decode = [sequence for sequence in decode if sequence.is_running]
            chunks = [chunk for chunk in chunks if chunk.sequence.is_running]
        sampled = decode + [chunk.sequence for chunk in chunks if chunk.samples]
        slots = np.fromiter((s.slot for s in sampled), np.int64, len(sampled))
        return StepPlan(decode, chunks, sampled, slots)

    def reserve_next(self, plan: StepPlan) -> None:
        """Take the page of each row's next token now if one is free: it may run ahead.

        Nothing is preempted for it: the token then waits for its plan.
        """
        for sequence in plan.sampled:
            next_tokens = sequence.num_computed + sequence.num_uncomputed + 1
            end_page = self._geometry.num_pages(next_tokens)
            if end_page > sequence.next_page and self._pool.num_free > 0:
                pages = self._pool.allocate(1)
                self._slots.add_pages(sequence.slot, sequence.next_page, pages)
                sequence.hold(pages)

    def commit(self, plan: StepPlan, result: StepResult) -> list[EngineOutput]:
        """Book a step's tokens; returns what its requests gained."""
        token_s = result.duration_s / plan.num_tokens
        self._slots.advance(plan.sampled_slots, result.tokens)
        for chunk in plan.chunks:
            sequence = chunk.sequence
            sequence.num_computed = chunk.end
            sequence.engine_s += token_s * chunk.num_tokens
            self._slots.position[sequence.slot] = chunk.end
            if not chunk.samples:
                self._slots.last_token[sequence.slot] = sequence.ids[chunk.end]
        for sequence in plan.decode:
            sequence.num_computed += 1
            sequence.engine_s += token_s
        return list(self._take_tokens(plan, result))

    def check(self) -> None:
        """Assert the invariants of pages and slots."""
        self._pool.check([sequence.pages for sequence in self.running])
        assert all(not s.pages and not s.is_running for s in self.waiting)
        assert len({s.slot for s in self.running}) == len(self.running), "a slot is shared"
        for s in self.running:
            row = self._slots.page_table[s.slot, s.first_page : s.next_page]
            assert row.tolist() == s.pages, "the page table differs from the pages held"

    def _find(self, request_id: str) -> Sequence | None:
        everything = chain(self.running, self.waiting)
        return next((s for s in everything if s.request.request_id == request_id), None)

    # Planning

    def _plan_prefill(self, now_s: float, preemptions: int) -> Iterator[Chunk]:
        budget = self._config.prefill_chunk_tokens
        started = [s for s in self.running if s.num_uncomputed > 1]
        started.sort(key=lambda s: s.num_uncomputed)
        for sequence in chain(started, self._admissions(now_s, preemptions)):
            num_tokens = min(sequence.num_uncomputed, budget)
            if self._grow(sequence, num_tokens):
                start = sequence.num_computed
                yield Chunk(sequence, start, start + num_tokens)
                budget -= num_tokens
            if budget == 0:
                return

    def _admissions(self, now_s: float, preemptions: int) -> Iterator[Sequence]:
        """Start waiting sequences one by one, unless this very step had to preempt."""
        while self.num_preemptions == preemptions:
            sequence = self._admit(now_s)
            if sequence is None:
                return
            yield sequence

    def _admit(self, now_s: float) -> Sequence | None:
        """Start the first waiting sequence if its whole prefill fits."""
        if not self.waiting or not self._slots.num_free:
            return None
        sequence = self.waiting[0]
        # Prefills that have begun hold their pages by now: they come first in a step's budget.
        spare_pages = self._pool.num_free - self._watermark_pages
        if self.running and self._geometry.resident_pages(len(sequence.ids)) > spare_pages:
            return None
        self.waiting.popleft()
        self._slots.occupy(sequence)
        self.running.append(sequence)
        if sequence.admitted_s is None:
            sequence.admitted_s = now_s
        return sequence

    def _grow(self, sequence: Sequence, num_tokens: int) -> bool:
        """Make room for the next tokens; False when the sequence itself had to give way."""
        if not sequence.is_running:
            return False
        end_page = self._geometry.num_pages(sequence.num_computed + num_tokens)
        if end_page <= sequence.next_page:
            return True
        first_page = self._geometry.first_page(sequence.num_computed)
        self._pool.release(sequence.drop_pages_before(first_page))
        count = end_page - sequence.next_page
        while self._pool.num_free < count:
            victim = self._choose_victim()
            self._preempt(victim)
            if victim is sequence:
                return False
        pages = self._pool.allocate(count)
        self._slots.add_pages(sequence.slot, sequence.next_page, pages)
        sequence.hold(pages)
        return True

    def _choose_victim(self) -> Sequence:
        """The cheapest to recompute, among those that were not yet preempted too often."""
        limit = self._config.max_preemptions
        return min(self.running, key=lambda s: (s.num_preemptions >= limit, s.num_computed))

    def _preempt(self, sequence: Sequence) -> None:
        self.num_preemptions += 1
        sequence.num_preemptions += 1
        self._retire(sequence)
        self.waiting.appendleft(sequence)

    def _retire(self, sequence: Sequence) -> None:
        """Take slot and pages from a sequence."""
        if sequence.is_running:
            self.running.remove(sequence)
            self._slots.vacate(sequence)
        self._pool.release(sequence.reset())

    # Committing

    def _take_tokens(self, plan: StepPlan, result: StepResult) -> Iterator[EngineOutput]:
        tokens, logprobs = result.tokens.tolist(), result.logprobs.tolist()
        for sequence, token, logprob in zip(plan.sampled, tokens, logprobs, strict=True):
            if sequence.first_token_s is None:
                sequence.first_token_s = result.ended_s
            verdict = sequence.thinking.observe(token)
            sequence.record(verdict.kind, token, logprob)
            if verdict.turned:
                self._turn(sequence, verdict)
            if verdict.turned or sequence.has_output(self._config.thinking_stream_tokens):
                yield sequence.take_output(result.ended_s, self._geometry.bytes_per_page)

    def _turn(self, sequence: Sequence, verdict: Verdict) -> None:
        """Apply a verdict that changes what the sequence does next."""
        if sequence.thinking.phase is Phase.DONE:
            self._retire(sequence)
            return
        sequence.ids.extend(verdict.forced)
        self._slots.ban[sequence.slot] = sequence.thinking.ban
        self._slots.last_token[sequence.slot] = sequence.ids[-1]
