"""A fork of a request that is tried beside it: dropped without a trace, or made the request.

The engine decides nothing here. Whoever forks reads the branch's tokens after each step, and then
promotes or drops it.
"""

from enum import StrEnum

from workers.engine.request import ThinkingStop
from workers.engine.sequence import Sequence
from workers.engine.thinking import Phase, TokenKind


class BranchEnd(StrEnum):
    """What became of a branch."""

    DROPPED = "dropped"  # by its owner, for want of room, or because its parent moved on
    PROMOTED = "promoted"  # it is the request now


class Branch(Sequence):
    """The child of `parent`: its tokens so far, then the suffix, then what it samples itself.

    After `max_tokens` sampled tokens, or at the end of its answer, it rests and keeps its pages.
    `answer_ids`, `logprobs` and `thinking_ids` hold what it sampled; they are never handed over.
    The two other lists have one entry per sampled token, that of the end included.
    """

    __slots__ = (
        "_fork_length",
        "_suffix_length",
        "end",
        "fork_tokens",
        "max_tokens",
        "parent",
        "sampled_entropies",
        "sampled_logprobs",
    )

    def __init__(
        self,
        parent: Sequence,
        suffix_ids: tuple[int, ...],
        max_tokens: int,
        *,
        before_newest: bool = False,
    ) -> None:
        """`before_newest`: fork from what is computed, without the token sampled last."""
        num_left_out = int(before_newest)
        thinking = parent.thinking.branch(suffix_ids, num_left_out)
        ids = [*parent.ids[: len(parent.ids) - num_left_out], *suffix_ids]
        super().__init__(parent.request, thinking, ids, now_s=parent.arrived_s)
        self.parent = parent
        self.max_tokens = max_tokens
        self.end: BranchEnd | None = None
        self.sampled_logprobs: list[float] = []  # in nats, as the next
        self.sampled_entropies: list[float] = []
        self.fork_tokens = thinking.thinking_tokens  # at the fork
        self.page_keys = list(parent.page_keys)
        self.num_published = parent.num_published
        self._fork_length = len(ids) - len(suffix_ids)
        self._suffix_length = len(suffix_ids)

    @property
    def num_sampled(self) -> int:
        return len(self.sampled_logprobs)

    @property
    def is_resting(self) -> bool:
        """Whether it has sampled all it may; it waits for its owner's decision."""
        return self.num_sampled >= self.max_tokens or self.thinking.phase is Phase.DONE

    @property
    def spent_tokens(self) -> int:
        """Computed for this branch alone: fed and sampled."""
        fed = max(0, self.num_computed - self._fork_length)
        return min(fed, self._suffix_length) + self.num_sampled

    def record_sampled(self, kind: TokenKind, token: int, logprob: float, entropy: float) -> None:
        """Append a sampled token, and how sure the model was of it."""
        self.sampled_logprobs.append(logprob)
        self.sampled_entropies.append(entropy)
        self.record(kind, token, logprob)

    def take_over(self, stop: ThinkingStop) -> None:
        """Make the parent what this branch is. The parent has given up its pages and its slot.

        What the parent thought after the fork is discarded: it was not handed over yet.
        """
        parent = self.parent
        assert not parent.pages
        assert not parent.is_running
        later = parent.thinking.thinking_tokens - self.fork_tokens
        del parent.thinking_ids[len(parent.thinking_ids) - later :]
        parent.probe_tokens += later
        parent.ids, parent.num_computed = self.ids, self.num_computed
        parent.pages, parent.first_page = self.pages, self.first_page
        parent.page_keys, parent.num_published = self.page_keys, self.num_published
        parent.slot, parent.thinking = self.slot, self.thinking
        parent.thinking_ids += self.thinking_ids
        parent.answer_ids, parent.logprobs = self.answer_ids, self.logprobs
        parent.peak_pages = max(parent.peak_pages, self.peak_pages)
        parent.engine_s += self.engine_s
        if parent.thinking.phase is not Phase.THINK and parent.thinking.stop is ThinkingStop.NONE:
            parent.thinking.stop = stop
        self.slot, self.pages = -1, []
