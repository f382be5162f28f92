"""A request while the engine works on it: its tokens, its pages and what it has spent."""

from workers.engine.prefix_cache import PageKey
from workers.engine.request import EngineOutput, EngineRequest, Finished, FinishReason, Usage
from workers.engine.thinking import Phase, SpecialTokens, ThinkingState, TokenKind


class Sequence:
    """`ids` is everything to compute; the first `num_computed` have their keys in the cache."""

    __slots__ = (
        "admitted_s",
        "answer_ids",
        "arrived_s",
        "engine_s",
        "failure",
        "first_page",
        "first_token_s",
        "forked_at",
        "ids",
        "logprobs",
        "num_computed",
        "num_preemptions",
        "num_published",
        "order",
        "page_keys",
        "pages",
        "peak_pages",
        "probe_tokens",
        "queued_s",
        "request",
        "slot",
        "thinking",
        "thinking_ids",
    )

    def __init__(
        self, request: EngineRequest, thinking: ThinkingState, ids: list[int], now_s: float
    ) -> None:
        self.request = request
        self.thinking = thinking
        self.ids = ids
        self.num_computed = 0
        self.slot = -1  # -1: not running
        self.pages: list[int] = []
        self.first_page = 0  # the logical page of pages[0]
        self.peak_pages = 0
        self.page_keys: list[PageKey] = []  # of the first full pages, as far as they were needed
        self.num_published = 0  # pages from the first on that others can find
        self.num_preemptions = 0
        self.probe_tokens = 0  # computed for branches that came to nothing
        self.forked_at: int | None = None  # thinking tokens at the first fork that lives
        self.failure = ""
        self.engine_s = 0.0
        self.order = 0  # among all requests of the engine
        self.arrived_s = now_s
        self.queued_s = now_s  # since when it waits, or waited last
        self.admitted_s: float | None = None
        self.first_token_s: float | None = None
        self.thinking_ids: list[int] = []  # not handed over yet; likewise the next two
        self.answer_ids: list[int] = []
        self.logprobs: list[float] = []

    @classmethod
    def of(cls, request: EngineRequest, tokens: SpecialTokens, now_s: float) -> "Sequence":
        """A request that has just arrived."""
        thinking = ThinkingState(request, tokens)
        return cls(request, thinking, thinking.open(request), now_s)

    @property
    def attained_tokens(self) -> int:
        """Service so far: thinking, that of earlier segments included, and answer."""
        return self.thinking.thinking_tokens + self.thinking.answer_tokens

    @property
    def num_uncomputed(self) -> int:
        return len(self.ids) - self.num_computed

    @property
    def is_running(self) -> bool:
        return self.slot >= 0

    @property
    def next_page(self) -> int:
        """The logical page that follows the last one held."""
        return self.first_page + len(self.pages)

    def hold(self, pages: list[int]) -> None:
        """Append pages."""
        self.pages.extend(pages)
        self.peak_pages = max(self.peak_pages, len(self.pages))

    def drop_pages_before(self, first_page: int) -> list[int]:
        """Give up the pages before logical page `first_page`."""
        count = min(max(0, first_page - self.first_page), len(self.pages))
        dropped = self.pages[:count]
        del self.pages[:count]
        self.first_page += count
        return dropped

    def reset(self) -> list[int]:
        """Forget what was computed; returns the pages to release."""
        pages, self.pages = self.pages, []
        self.first_page = 0
        self.num_computed = 0
        self.num_published = 0
        return pages

    def record(self, kind: TokenKind, token: int, logprob: float) -> None:
        """Append a sampled token to what is computed next and to what is handed over next."""
        if kind is TokenKind.END:
            return
        self.ids.append(token)
        if kind is TokenKind.THINKING:
            self.thinking_ids.append(token)
        elif kind is TokenKind.ANSWER:
            self.answer_ids.append(token)
            self.logprobs.append(logprob)

    def has_output(self, thinking_tokens: int) -> bool:
        """Whether an answer token, or that many thinking tokens, wait to be handed over."""
        if self.answer_ids:
            return True
        # The first test is the cheaper one, and fails at most tokens.
        return len(self.thinking_ids) >= thinking_tokens and self._num_settled >= thinking_tokens

    @property
    def _num_settled(self) -> int:
        """Thinking tokens to hand over now: a branch that is promoted takes back later ones."""
        if self.forked_at is None:
            return len(self.thinking_ids)
        return len(self.thinking_ids) - (self.thinking.thinking_tokens - self.forked_at)

    def take_output(self, now_s: float, bytes_per_page: int) -> EngineOutput:
        """Hand over the tokens gained since the last output."""
        reason, num_settled = self.thinking.reason, self._num_settled
        output = EngineOutput(
            request_id=self.request.request_id,
            thinking_ids=tuple(self.thinking_ids[:num_settled]),
            answer_ids=tuple(self.answer_ids),
            logprobs=tuple(self.logprobs),
            finished=None if reason is None else self._finished(reason, now_s, bytes_per_page),
        )
        del self.thinking_ids[:num_settled]
        self.answer_ids.clear()
        self.logprobs.clear()
        return output

    def _finished(self, reason: FinishReason, now_s: float, bytes_per_page: int) -> Finished:
        assert self.thinking.phase is Phase.DONE
        admitted_s = now_s if self.admitted_s is None else self.admitted_s
        first_token_s = now_s if self.first_token_s is None else self.first_token_s
        return Finished(
            stop=self.thinking.stop,
            reason=reason,
            usage=self._usage(bytes_per_page),
            queue_s=admitted_s - self.arrived_s,
            first_token_s=first_token_s - self.arrived_s,
            failure=self.failure,
        )

    def _usage(self, bytes_per_page: int) -> Usage:
        return Usage(
            prompt_tokens=len(self.request.prompt_ids),
            thinking_tokens=self.thinking.thinking_tokens,
            forced_tokens=self.thinking.forced_tokens,
            probe_tokens=self.probe_tokens,
            answer_tokens=self.thinking.answer_tokens,
            engine_seconds=self.engine_s,
            peak_kv_bytes=self.peak_pages * bytes_per_page,
        )
