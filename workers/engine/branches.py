"""The branches that live: forked, grown, promoted, and dropped before any request suffers.

They have slots of their own, take never a page below the watermark, and never preempt.
"""

from collections.abc import Iterator

from workers.engine.branch import Branch, BranchEnd
from workers.engine.config import EngineConfig
from workers.engine.errors import BranchEnded, ForkRefused
from workers.engine.memory import SequenceMemory
from workers.engine.request import ThinkingStop
from workers.engine.sequence import Sequence
from workers.engine.thinking import Phase

Copy = tuple[int, int]  # source and destination page


class Branches:
    """All branches of an engine, oldest first."""

    def __init__(self, config: EngineConfig, memory: SequenceMemory, watermark_pages: int) -> None:
        self.num_dropped = 0  # for want of room
        self._branches: list[Branch] = []
        self._most = config.max_branches
        self._max_model_len = config.max_model_len
        self._memory = memory
        self._watermark_pages = watermark_pages

    def __iter__(self) -> Iterator[Branch]:
        return iter(self._branches)

    def __len__(self) -> int:
        return len(self._branches)

    def fork(
        self,
        parent: Sequence,
        suffix_ids: tuple[int, ...],
        max_tokens: int,
        *,
        before_newest: bool = False,
    ) -> tuple[Branch, Copy | None] | None:
        """A branch, and the page to copy before the next step; None when there is no room.

        Raises ForkRefused when the parent cannot be forked now, however much room there is.
        """
        assert suffix_ids or not before_newest, "a branch needs something to compute"
        for problem in self._problems(parent, suffix_ids, max_tokens):
            raise ForkRefused(f"request {parent.request.request_id}: {problem}")
        num_pages = self._memory.pages_to_fork(parent, len(parent.ids) + len(suffix_ids))
        if len(self._branches) >= self._most or num_pages > self._spare_pages():
            return None
        branch = Branch(parent, suffix_ids, max_tokens, before_newest=before_newest)
        copy = self._memory.fork(branch)
        self._branches.append(branch)
        self._hold_thinking_back(parent)
        return branch, copy

    def grow(self, branch: Branch, num_tokens: int) -> bool:
        """Make room for the next tokens; False when the branch had to go instead."""
        if not branch.is_running:
            return False
        count = self._memory.pages_to_grow(branch, num_tokens)
        if count > self._spare_pages():
            self.num_dropped += 1
            self.drop(branch)
            return False
        self._memory.grow(branch, count)
        return True

    def promote(self, branch: Branch, stop: ThinkingStop) -> None:
        """Make the branch its parent's request. Raises BranchEnded."""
        if branch.end is not None:
            raise BranchEnded(f"the branch was {branch.end} before")
        self._end(branch, BranchEnd.PROMOTED)
        self.drop_of(branch.parent)
        self._memory.stop(branch.parent)
        branch.take_over(stop)

    def drop(self, branch: Branch) -> None:
        """Give up a branch; what it spent is booked on its parent. A second time is no error."""
        if branch.end is not None:
            return
        parent = branch.parent
        parent.probe_tokens += branch.spent_tokens
        parent.engine_s += branch.engine_s
        self._end(branch, BranchEnd.DROPPED)
        self._memory.stop(branch)

    def drop_newest(self) -> bool:
        """Make room; False when there is no branch."""
        if not self._branches:
            return False
        self.num_dropped += 1
        self.drop(self._branches[-1])
        return True

    def drop_of(self, parent: Sequence) -> None:
        """Drop all branches of a request."""
        for branch in [branch for branch in self._branches if branch.parent is parent]:
            self.drop(branch)

    def check(self, running: list[Sequence]) -> None:
        """Assert that each branch lives beside a parent that thinks."""
        assert len(self._branches) <= self._most, "too many branches"
        for branch in self._branches:
            assert branch.end is None, "a branch has ended"
            assert branch.parent in running, "a branch outlived its parent"
            assert branch.parent.thinking.phase is Phase.THINK, "a branch outlived the thinking"
        for sequence in running:
            assert (sequence.forked_at is None) == (not self._fork_points(sequence))

    def _problems(
        self, parent: Sequence, suffix_ids: tuple[int, ...], max_tokens: int
    ) -> Iterator[str]:
        if not parent.is_running:
            yield "it waits for a slot; fork it when it decodes"
        elif parent.num_uncomputed != 1:
            done, total = parent.num_computed, len(parent.ids)
            yield f"{done} of its {total} tokens are computed; fork it when it decodes"
        elif parent.thinking.phase is not Phase.THINK:
            yield "it does not think any more"
        elif parent.thinking.thinking_tokens == len(parent.request.thinking_prefix_ids):
            yield "it has not thought a token yet; fork it when it decodes"
        if max_tokens < 1:
            yield "max_tokens must be at least 1"
        most = len(parent.ids) + len(suffix_ids) + parent.thinking.most_remaining_tokens
        if most > self._max_model_len:
            yield f"the branch could need {most} tokens, more than max_model_len"
        if self._memory.geometry.resident_pages(most) > self._memory.pool.capacity:
            yield "the branch could need more pages than there are"

    def _spare_pages(self) -> int:
        return self._memory.pool.num_free - self._watermark_pages

    def _end(self, branch: Branch, end: BranchEnd) -> None:
        branch.end = end
        self._branches.remove(branch)
        self._hold_thinking_back(branch.parent)

    def _hold_thinking_back(self, parent: Sequence) -> None:
        parent.forked_at = min(self._fork_points(parent), default=None)

    def _fork_points(self, parent: Sequence) -> list[int]:
        return [branch.fork_tokens for branch in self._branches if branch.parent is parent]
