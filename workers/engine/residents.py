"""Who holds slots and pages, who waits for them, and who gives way. No torch, no clock."""

import math

from workers.engine.branches import Branches
from workers.engine.config import EngineConfig
from workers.engine.memory import SequenceMemory
from workers.engine.priority import DEMOTED, WaitingQueue, expected_remaining_tokens
from workers.engine.sequence import Sequence


class Residents:
    """The running requests with their branches, and the waiting ones."""

    def __init__(self, config: EngineConfig, memory: SequenceMemory) -> None:
        self.running: list[Sequence] = []
        self.waiting = WaitingQueue(config)
        self.num_preemptions = 0
        self.memory = memory
        self._watermark_pages = int(config.watermark * memory.pool.capacity)
        self.branches = Branches(config, memory, self._watermark_pages)
        self._max_running = config.max_running
        self._max_preemptions = config.max_preemptions
        self._preemption_grace_s = config.preemption_grace_s
        self._demoted_floor = math.ceil(config.demoted_floor * config.max_running)

    def admit(self, now_s: float) -> Sequence | None:
        """Start the next waiting sequence if its whole prefill fits."""
        sequence = self._next_waiting()
        if sequence is None:
            return None
        prefix = self._room_for(sequence)
        if prefix is None:
            return None
        self.waiting.remove(sequence)
        self.memory.start(sequence, prefix)
        self.running.append(sequence)
        if sequence.admitted_s is None:
            sequence.admitted_s = now_s
        return sequence

    def grow(self, sequence: Sequence, num_tokens: int, now_s: float) -> bool:
        """Make room for the next tokens; False when the sequence itself had to give way."""
        if not sequence.is_running:
            return False
        count = self.memory.pages_to_grow(sequence, num_tokens)
        if count == 0:
            return True
        while self.memory.pool.num_free < count:
            if self.branches.drop_newest():
                continue
            victim = self._choose_victim()
            self.preempt(victim, now_s)
            if victim is sequence:
                return False
        self.memory.grow(sequence, count)
        return True

    def take_slot_back(self, now_s: float) -> None:
        """Preempt one that has had more for one on probation that has waited long enough."""
        waiting = self.waiting.first_on_probation()
        if waiting is None or now_s - waiting.queued_s < self._preemption_grace_s:
            return
        if self._room_for(waiting) is not None:
            return
        if victims := self._may_give_way_to(waiting):
            limit, level = self._max_preemptions, self.waiting.level
            victim = max(
                victims,
                key=lambda s: (
                    level(s),
                    s.num_preemptions < limit,
                    expected_remaining_tokens(s),
                    -s.num_computed,
                ),
            )
            self.preempt(victim, now_s)

    def _may_give_way_to(self, waiting: Sequence) -> list[Sequence]:
        """Those of higher levels, but for the demoted while they hold no more than their floor, and
        on probation only those with more to come than the waiting one has before its level ends:
        who is about to end had better do so.
        """
        level, remaining = self.waiting.level, expected_remaining_tokens
        lowest = level(waiting)
        least_tokens = self.waiting.level_ends[lowest] - waiting.attained_tokens
        victims = [
            s for s in self.running if lowest < level(s) < DEMOTED and remaining(s) >= least_tokens
        ]
        demoted = self._demoted()
        return victims + demoted if len(demoted) > self._demoted_floor else victims

    def retire(self, sequence: Sequence) -> None:
        """Take slot and pages back; its branches have nothing to be promoted to."""
        if sequence.is_running:
            self.branches.drop_of(sequence)
            self.running.remove(sequence)
        self.memory.stop(sequence)

    def is_demoted(self, sequence: Sequence) -> bool:
        """Whether the request has outlived its probation."""
        return self.waiting.level(sequence) == DEMOTED

    def check(self) -> None:
        """Assert the invariants of pages, slots and branches."""
        self.memory.check([*self.running, *self.branches])
        assert all(not s.pages and not s.is_running for s in self.waiting)
        self.branches.check(self.running)

    def _next_waiting(self) -> Sequence | None:
        """On probation first, unless the demoted hold less than their floor of slots."""
        probation = self.waiting.first_on_probation()
        demoted = self.waiting.first_demoted()
        if probation is None or demoted is None:
            return probation or demoted
        return demoted if len(self._demoted()) < self._demoted_floor else probation

    def _room_for(self, sequence: Sequence) -> list[int | None] | None:
        """The computed prefix of a sequence that fits now, pages of branches taken if need be."""
        if len(self.running) >= self._max_running:
            return None
        prefix = self.memory.find_prefix(sequence)
        while self.running and self.memory.pages_to_start(sequence, prefix) > self._spare_pages():
            if not self.branches.drop_newest():
                return None
        return prefix

    def _spare_pages(self) -> int:
        """Free pages but for the watermark and those that begun prefills still need."""
        promised = sum(self.memory.pages_to_finish(s) for s in self.running if s.num_uncomputed > 1)
        return self.memory.pool.num_free - self._watermark_pages - promised

    def _choose_victim(self) -> Sequence:
        """The cheapest to recompute of the demoted, then of all; the often preempted last."""
        limit = self._max_preemptions
        return min(
            self.running,
            key=lambda s: (s.num_preemptions >= limit, not self.is_demoted(s), s.num_computed),
        )

    def preempt(self, sequence: Sequence, now_s: float) -> None:
        """Take slot and pages from a running sequence, which waits to be computed again."""
        self.num_preemptions += 1
        sequence.num_preemptions += 1
        self.retire(sequence)
        self.waiting.add(sequence, now_s)

    def _demoted(self) -> list[Sequence]:
        return [sequence for sequence in self.running if self.is_demoted(sequence)]
