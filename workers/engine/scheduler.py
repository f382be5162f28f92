"""Continuous batching: which tokens run in the next step. No torch, no clock of its own.

Each step decodes every running sequence, then prefills as many tokens as keep it short: what
continues on probation first, then new admissions, then the demoted. Branches come last. Nothing
is admitted unless its whole prompt and the watermark fit. When pages run out, branches go first;
then the sequence with the least computed tokens, the demoted before the others, gives its own up
and is recomputed later.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import chain

from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.branch import Branch
from workers.engine.config import EngineConfig
from workers.engine.errors import InvalidRequest, QueueFull
from workers.engine.memory import SequenceMemory
from workers.engine.pacing import PrefillPacer
from workers.engine.plan import Chunk, StepPlan, StepResult
from workers.engine.request import EngineOutput, FinishReason, ThinkingStop
from workers.engine.residents import Residents
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable
from workers.engine.thinking import Phase, TokenKind, Verdict

Row = tuple[Sequence, int, float, float]  # what sampled, its token, log-probability and entropy


class Scheduler:
    """Owns the sequences, their slots and their pages."""

    def __init__(
        self, config: EngineConfig, geometry: KvGeometry, pool: PagePool, slots: SlotTable
    ) -> None:
        self.memory = SequenceMemory(geometry, pool, slots, shares_prefixes=config.prefix_cache)
        self.num_failures = 0  # for logits that were not finite
        self._num_arrived = 0
        self._config = config
        self._geometry = geometry
        self._pool = pool
        self._slots = slots
        self._pacer = PrefillPacer(config)
        self._residents = Residents(config, self.memory)
        self.branches = self._residents.branches
        self.running = self._residents.running
        self.waiting = self._residents.waiting

    @property
    def num_preemptions(self) -> int:
        return self._residents.num_preemptions

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
        self._num_arrived += 1
        sequence.order = self._num_arrived
        self.waiting.add(sequence, sequence.arrived_s)

    def abort(self, request_id: str, now_s: float) -> EngineOutput | None:
        """End a request now and free what it holds; None when it is not here."""
        sequence = self.find(request_id)
        if sequence is None:
            return None
        if not sequence.is_running:
            self.waiting.remove(sequence)
        sequence.thinking.end(FinishReason.CANCELLED)
        self._residents.retire(sequence)
        return sequence.take_output(now_s, self._geometry.bytes_per_page)

    def fail(self, sequence: Sequence, failure: str, now_s: float) -> EngineOutput:
        """End a running request that the engine cannot go on with."""
        sequence.failure = failure
        sequence.thinking.end(FinishReason.FAILED)
        self._residents.retire(sequence)
        return sequence.take_output(now_s, self._geometry.bytes_per_page)

    def give_up_largest(self, plan: StepPlan, needed: str, now_s: float) -> EngineOutput | None:
        """End what asked for most of the memory of a step; None when it was a branch."""
        largest = plan.largest
        if isinstance(largest, Branch):
            self.branches.drop(largest)
            return None
        failure = f"out of memory in a step of {plan.num_tokens} tokens: {needed}"
        return self.fail(largest, failure, now_s)

    def close_thinking(self, request_id: str) -> None:
        """Let a request that thinks go on to its answer; an unknown id is not an error."""
        if (sequence := self.find(request_id)) is not None:
            sequence.thinking.close_soon()

    def close(self, sequence: Sequence, stop: ThinkingStop) -> None:
        """End the thinking of a running request after its newest token; the answer follows."""
        assert sequence.is_running
        forced = sequence.thinking.close_now(stop)
        self._turn(sequence, Verdict(TokenKind.THINKING, forced=forced))

    def preempt(self, request_id: str, now_s: float) -> None:
        """Take a running request's pages now; it is computed again. An unknown id is no error."""
        sequence = self.find(request_id)
        if sequence is not None and sequence.is_running:
            self._residents.preempt(sequence, now_s)

    def promote(self, branch: Branch, stop: ThinkingStop, now_s: float) -> EngineOutput:
        """Make a live branch its parent's request; returns what the request gained."""
        request = branch.parent
        self.branches.promote(branch, stop)
        self.memory.publish(request)
        if request.thinking.phase is Phase.DONE:
            self._residents.retire(request)
        return request.take_output(now_s, self._geometry.bytes_per_page)

    def find(self, request_id: str) -> Sequence | None:
        """The request of that id, running or waiting."""
        everything = chain(self.running, self.waiting)
        return next((s for s in everything if s.request.request_id == request_id), None)

    def plan(self, now_s: float) -> StepPlan:
        """Choose what runs next and give it pages."""
        self._residents.take_slot_back(now_s)
        preemptions = self.num_preemptions
        page_size = self._geometry.page_size
        ready = [s for s in self.running if s.num_uncomputed == 1]
        # Only the first token of a page needs one: the others have room on the page begun.
        decode = [
            s for s in ready if s.num_computed % page_size or self._residents.grow(s, 1, now_s)
        ]
        branches = [b for b in tuple(self.branches) if b.num_uncomputed == 1 and not b.is_resting]
        decode += [branch for branch in branches if self.branches.grow(branch, 1)]
        order = self._prefill_order(now_s, preemptions)
        chunks = list(self._plan_prefill(order, len(decode), now_s))
        # A row may have lost its pages to one that was planned after it.
        decode = [sequence for sequence in decode if sequence.is_running]
        return StepPlan.of(decode, [chunk for chunk in chunks if chunk.sequence.is_running])

    def reserve_next(self, plan: StepPlan) -> None:
        """Take the page of each row's next token now if one is free: it may run ahead.

        Nothing is preempted for it: the token then waits for its plan.
        """
        page_size = self._geometry.page_size
        for sequence in plan.sampled:
            page, offset = divmod(len(sequence.ids), page_size)
            if offset == 0 and page >= sequence.next_page and self._pool.num_free > 0:
                self.memory.grow(sequence, 1)

    def commit(self, plan: StepPlan, result: StepResult) -> list[EngineOutput]:
        """Book a step's tokens; returns what its requests gained."""
        token_s = result.duration_s / plan.num_tokens
        self._pacer.record(plan.num_prefill_tokens, result.duration_s)
        self._slots.advance(plan.sampled_slots, result.tokens)
        for chunk in plan.chunks:
            sequence = chunk.sequence
            sequence.num_computed = chunk.end
            sequence.engine_s += token_s * chunk.num_tokens
            self._publish(sequence)
            self._slots.position[sequence.slot] = chunk.end
            if not chunk.samples:
                self._slots.last_token[sequence.slot] = sequence.ids[chunk.end]
        page_size = self._geometry.page_size
        for sequence in plan.decode:
            sequence.num_computed += 1
            sequence.engine_s += token_s
            if sequence.num_computed % page_size == 0:
                self._publish(sequence)
        return list(self._take_tokens(plan, result))

    def check(self) -> None:
        """Assert the invariants of pages, slots and branches."""
        self._residents.check()

    # Planning

    def _plan_prefill(
        self, order: Iterator[Sequence], num_decode: int, now_s: float
    ) -> Iterator[Chunk]:
        budget = self._pacer.chunk_tokens(num_decode)
        for sequence in order:
            num_tokens = min(sequence.num_uncomputed, budget)
            if num_decode and not self._is_urgent(sequence):
                # Computed again at one go it would hold up every row for that long.
                num_tokens = min(num_tokens, self._config.min_prefill_chunk_tokens)
            if isinstance(sequence, Branch):
                has_room = self.branches.grow(sequence, num_tokens)
            else:
                has_room = self._residents.grow(sequence, num_tokens, now_s)
            if has_room:
                start = sequence.num_computed
                yield Chunk(sequence, start, start + num_tokens)
                budget -= num_tokens
            if budget == 0:
                return

    def _prefill_order(self, now_s: float, preemptions: int) -> Iterator[Sequence]:
        started = [s for s in self.running if s.num_uncomputed > 1]
        started.sort(key=lambda s: s.num_uncomputed)
        first = [s for s in started if self._is_urgent(s)]
        rest = [s for s in started if not self._is_urgent(s)]
        branches = (b for b in tuple(self.branches) if b.num_uncomputed > 1)
        return chain(first, self._admissions(now_s, preemptions), rest, branches)

    def _is_urgent(self, sequence: Sequence) -> bool:
        """On probation, or as short as a forced close; not a demoted request that resumes."""
        is_short = sequence.num_uncomputed <= self._geometry.page_size
        return is_short or not self._residents.is_demoted(sequence)

    def _admissions(self, now_s: float, preemptions: int) -> Iterator[Sequence]:
        """Start waiting sequences one by one, unless this very step had to preempt."""
        while self.num_preemptions == preemptions:
            sequence = self._residents.admit(now_s)
            if sequence is None:
                return
            yield sequence

    # Committing

    def _publish(self, sequence: Sequence) -> None:
        if not isinstance(sequence, Branch):
            self.memory.publish(sequence)

    def _take_tokens(self, plan: StepPlan, result: StepResult) -> Iterator[EngineOutput]:
        columns = (result.tokens, result.logprobs, result.entropies)
        rows = zip(plan.sampled, *(column.tolist() for column in columns), strict=True)
        left = self._take_branch_tokens(rows) if self.branches else rows
        for sequence, token, logprob, _ in left:
            if sequence.first_token_s is None:
                sequence.first_token_s = result.ended_s
            if not math.isfinite(logprob):
                yield self._fail_at_token(sequence, result.ended_s)
                continue
            verdict = sequence.thinking.observe(token)
            sequence.record(verdict.kind, token, logprob)
            if verdict.turned:
                self._turn(sequence, verdict)
            if verdict.turned or sequence.has_output(self._config.thinking_stream_tokens):
                yield sequence.take_output(result.ended_s, self._geometry.bytes_per_page)

    def _take_branch_tokens(self, rows: Iterable[Row]) -> list[Row]:
        """Take the tokens of branches; the rows of requests are left.

        Branches first: a request that moves on drops its own, and their tokens must count.
        """
        left = []
        for sequence, token, logprob, entropy in rows:
            if isinstance(sequence, Branch):
                self._take_branch_token(sequence, token, logprob, entropy)
            else:
                left.append((sequence, token, logprob, entropy))
        return left

    def _take_branch_token(
        self, branch: Branch, token: int, logprob: float, entropy: float
    ) -> None:
        if not math.isfinite(logprob):
            self.num_failures += 1
            self.memory.forget(branch)
            self.branches.drop(branch)
            return
        verdict = branch.thinking.observe(token)
        branch.record_sampled(verdict.kind, token, logprob, entropy)
        if verdict.turned and branch.thinking.phase is not Phase.DONE:
            self._feed(branch, verdict)

    def _turn(self, sequence: Sequence, verdict: Verdict) -> None:
        """Apply a verdict that changes what the sequence does next."""
        if sequence.thinking.phase is not Phase.THINK:
            self.branches.drop_of(sequence)
        if sequence.thinking.phase is Phase.DONE:
            self._residents.retire(sequence)
        else:
            self._feed(sequence, verdict)

    def _feed(self, sequence: Sequence, verdict: Verdict) -> None:
        sequence.ids.extend(verdict.forced)
        self._slots.ban[sequence.slot] = sequence.thinking.ban
        self._slots.last_token[sequence.slot] = sequence.ids[-1]

    def _fail_at_token(self, sequence: Sequence, now_s: float) -> EngineOutput:
        """Its keys may hold what is not a number: nobody may find them, or read them unwashed."""
        self.num_failures += 1
        self.memory.forget(sequence)
        position, thought = len(sequence.ids), sequence.thinking.thinking_tokens
        failure = (
            f"the model's logits for token {position} (thinking tokens before it: {thought}) are "
            "not finite: check the weights, or serve them as bfloat16 or float32"
        )
        return self.fail(sequence, failure, now_s)
