"""A scheduler stepped by hand, with a fake runner that remembers what it wrote where."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

import numpy as np

from workers.engine import EngineConfig, EngineOutput, EngineRequest, SpecialTokens
from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.branch import Branch
from workers.engine.plan import StepPlan, StepResult
from workers.engine.scheduler import Scheduler
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable

EOS, OPEN, CLOSE, SOME = 2, 3, 4, 9
TOKENS = SpecialTokens(
    eos_ids=frozenset({EOS}), think_open_id=OPEN, think_close_id=CLOSE, wrap_up_ids=(5, 6)
)


@dataclass
class Job:
    arrives: int
    prompt: int
    prefix: int
    budget: int
    answer: int
    aborts: int | None
    expected: float | None = None

    @property
    def max_tokens(self) -> int:
        return self.prompt + self.prefix + self.budget + 4 + self.answer


def job(**overrides) -> Job:
    settings = {"arrives": 0, "prompt": 4, "prefix": 0, "budget": 8, "answer": 4, "aborts": None}
    return Job(**(settings | overrides))


class FakeCache:
    """Pages whose keys are the texts that they were computed from."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._keys: dict[tuple[int, int], int] = {}

    def write(self, sequence: Sequence, start: int, end: int) -> None:
        for position in range(start, end):
            self._keys[self._place(sequence, position)] = key_of(sequence, position)

    def check(self, sequence: Sequence, start: int, end: int) -> None:
        for position in range(start, end):
            key = self._keys.get(self._place(sequence, position))
            assert key == key_of(sequence, position), f"a query sees a foreign key at {position}"

    def copy(self, source: int, destination: int) -> None:
        for offset in range(self._page_size):
            if (source, offset) in self._keys:
                self._keys[destination, offset] = self._keys[source, offset]

    def _place(self, sequence: Sequence, position: int) -> tuple[int, int]:
        page, offset = divmod(position, self._page_size)
        return sequence.pages[page - sequence.first_page], offset


def key_of(sequence: Sequence, position: int) -> int:
    """A key depends on every token up to its own."""
    return hash(tuple(sequence.ids[: position + 1]))


def allowed(sequence: Sequence, token: int) -> int:
    """What the sampler makes of a token that is banned there: another one."""
    return SOME if token in TOKENS.banned_ids(sequence.thinking.ban) else token


class Bench:
    """A scheduler with its parts."""

    def __init__(self, window: int | None = None, num_pages: int = 20, **overrides) -> None:
        chunk = overrides.get("prefill_chunk_tokens", 8)
        settings = {
            "model_dir": "unused",
            "max_running": 4,
            "prefill_chunk_tokens": chunk,
            "target_token_s": 1e6,
        }
        self.config = EngineConfig(**(settings | overrides))
        self.geometry = KvGeometry(
            page_size=4, sliding_window=window, bytes_per_page=100, max_chunk_tokens=chunk
        )
        self.pool = PagePool(num_pages)
        self.slots = SlotTable(self.config.max_rows, 64)
        self.scheduler = Scheduler(self.config, self.geometry, self.pool, self.slots)
        self.cache = FakeCache(self.geometry.page_size)
        self.fresh_ids = count(100)
        self.now_s = 0.0

    def add(self, name: str, job: Job, ids: Iterable[int] | None = None) -> None:
        """Queue a request; without `ids` it shares its prompt with no other."""
        request = EngineRequest(
            request_id=name,
            prompt_ids=[next(self.fresh_ids)] * job.prompt if ids is None else list(ids),
            thinking_prefix_ids=[SOME] * job.prefix,
            thinking_budget=job.budget + job.prefix,
            max_answer_tokens=job.answer,
            expected_thinking_tokens=job.expected,
        )
        self.scheduler.add(Sequence.of(request, TOKENS, self.now_s), job.max_tokens)

    def fork(
        self,
        name: str,
        suffix: tuple[int, ...] = (CLOSE,),
        tokens: int = 3,
        *,
        before_newest: bool = False,
    ) -> Branch | None:
        parent = self.scheduler.find(name)
        assert parent is not None
        branches = self.scheduler.branches
        forked = branches.fork(parent, suffix, tokens, before_newest=before_newest)
        self.scheduler.check()
        if forked is None:
            return None
        branch, copy = forked
        if copy is not None:
            self.cache.copy(*copy)
        return branch

    def step(
        self,
        choose: Callable[[Sequence], int] = lambda sequence: SOME,
        logprob: Callable[[Sequence], float] = lambda sequence: -1.0,
        entropy: Callable[[Sequence], float] = lambda sequence: 0.5,
    ) -> tuple[StepPlan, list[EngineOutput]]:
        """One step in which every sequence samples what `choose` says."""
        plan = self.scheduler.plan(self.now_s)
        self.scheduler.check()
        if plan.is_empty:
            return plan, []
        self.compute(plan)
        self.now_s += 1.0
        tokens = np.array([allowed(s, choose(s)) for s in plan.sampled], np.int64)
        logprobs = np.array([logprob(s) for s in plan.sampled], np.float32)
        entropies = np.array([entropy(s) for s in plan.sampled], np.float32)
        result = StepResult(tokens, logprobs, entropies, self.now_s, 1.0)
        outputs = self.scheduler.commit(plan, result)
        self.scheduler.check()
        return plan, outputs

    def compute(self, plan: StepPlan) -> None:
        """What the runner will read is what the sequences say, and every query sees its keys."""
        assert plan.num_prefill_tokens <= self.config.prefill_chunk_tokens
        rows = [(s, s.num_computed, s.num_computed + 1) for s in plan.decode]
        for sequence in plan.decode:
            assert self.slots.last_token[sequence.slot] == sequence.ids[-1]
            assert self.slots.position[sequence.slot] == sequence.num_computed
        rows += [(c.sequence, c.start, c.end) for c in plan.chunks]
        assert len({s.slot for s, *_ in rows}) == len(rows), "a sequence is planned twice"
        for sequence, start, end in rows:
            self.cache.write(sequence, start, end)
        window = self.geometry.sliding_window
        for sequence, start, end in rows:
            assert self.slots.ban[sequence.slot] == sequence.thinking.ban
            first = 0 if window is None else max(0, start - window + 1)
            self.cache.check(sequence, first, end)

    def running(self) -> list[str]:
        return [s.request.request_id for s in self.scheduler.running]

    def waiting(self) -> list[str]:
        return [s.request.request_id for s in self.scheduler.waiting]
