"""The scheduler under random workloads, with a fake runner that makes tokens up."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.engine import (
    EngineConfig,
    EngineOutput,
    EngineRequest,
    Finished,
    FinishReason,
    InvalidRequest,
    QueueFull,
    SpecialTokens,
)
from workers.engine.blocks import KvGeometry, PagePool
from workers.engine.plan import StepPlan, StepResult
from workers.engine.scheduler import Scheduler
from workers.engine.sequence import Sequence
from workers.engine.slots import SlotTable

EOS, OPEN, CLOSE = 2, 3, 4
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

    @property
    def max_tokens(self) -> int:
        return self.prompt + self.prefix + self.budget + 4 + self.answer


JOBS = st.lists(
    st.builds(
        Job,
        arrives=st.integers(0, 30),
        prompt=st.integers(1, 24),
        prefix=st.just(0) | st.integers(0, 10),
        budget=st.integers(0, 20),
        answer=st.integers(1, 6),
        aborts=st.none() | st.integers(0, 40),
    ),
    min_size=1,
    max_size=12,
)


class Bench:
    """A scheduler with its parts, stepped by hand."""

    def __init__(self, window: int | None = None, num_pages: int = 20, **overrides) -> None:
        chunk = overrides.get("prefill_chunk_tokens", 8)
        settings = {
            "model_dir": "unused",
            "max_running": 4,
            "prefill_chunk_tokens": chunk,
            "target_token_s": 1e6,
        }
        self.geometry = KvGeometry(
            page_size=4, sliding_window=window, bytes_per_page=100, max_chunk_tokens=chunk
        )
        self.pool = PagePool(num_pages)
        self.slots = SlotTable(4, 64)
        config = EngineConfig(**(settings | overrides))
        self.scheduler = Scheduler(config, self.geometry, self.pool, self.slots)
        self.fresh_ids = count(100)
        self.now_s = 0.0

    def add(self, name: str, job: Job, ids: Iterable[int] | None = None) -> None:
        request = EngineRequest(
            request_id=name,
            prompt_ids=[next(self.fresh_ids)] * job.prompt if ids is None else list(ids),
            thinking_prefix_ids=[9] * job.prefix,
            thinking_budget=job.budget + job.prefix,
            max_answer_tokens=job.answer,
        )
        self.scheduler.add(Sequence.of(request, TOKENS, self.now_s), job.max_tokens)

    def step(self, choose=lambda name: 9) -> tuple[StepPlan, list[EngineOutput]]:
        """One step in which every sequence samples what `choose` says."""
        plan = self.scheduler.plan(self.now_s)
        if plan.is_empty:
            return plan, []
        self.check_inputs(plan)
        self.now_s += 1.0
        tokens = np.array([choose(s.request.request_id) for s in plan.sampled], np.int64)
        result = StepResult(tokens, np.zeros(len(tokens), np.float32), self.now_s, 1.0)
        outputs = self.scheduler.commit(plan, result)
        self.scheduler.check()
        return plan, outputs

    def check_inputs(self, plan: StepPlan) -> None:
        """What the runner will read is what the sequences say, and every query sees its keys."""
        assert sum(c.num_tokens for c in plan.chunks) <= 8
        rows = [(s, s.num_computed, s.num_computed + 1) for s in plan.decode]
        for sequence in plan.decode:
            assert self.slots.last_token[sequence.slot] == sequence.ids[-1]
            assert self.slots.position[sequence.slot] == sequence.num_computed
        rows += [(c.sequence, c.start, c.end) for c in plan.chunks]
        assert len({s.slot for s, *_ in rows}) == len(rows), "a sequence is planned twice"
        for sequence, start, end in rows:
            assert sequence.first_page <= self.geometry.first_page(start)
            assert sequence.next_page >= self.geometry.num_pages(end)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(JOBS, st.none() | st.integers(1, 10), st.integers(12, 30), st.randoms())
def test_any_workload_ends_within_its_budgets(jobs, window, num_pages, random):
    bench = Bench(window, num_pages)
    thinking: dict[str, int] = {}
    finished: dict[str, Finished] = {}

    def collect(outputs):
        for output in outputs:
            name = output.request_id
            assert name not in finished, "an output after the end"
            thinking[name] = thinking.get(name, 0) + len(output.thinking_ids)
            if output.finished is not None:
                finished[name] = output.finished

    accepted = set()
    for tick in range(2500):
        for index, job in enumerate(jobs):
            if job.arrives == tick and bench.geometry.resident_pages(job.max_tokens) < num_pages:
                bench.add(str(index), job, ids=[1] * job.prompt)
                accepted.add(str(index))
            if job.aborts == tick and str(index) in accepted - set(finished):
                collect([bench.scheduler.abort(str(index), bench.now_s)])
                bench.scheduler.check()
        collect(bench.step(lambda _: random.choice([9, 9, 9, 9, 10, CLOSE, EOS]))[1])
        if tick > 40 and not bench.scheduler.has_work:
            break

    assert set(finished) == accepted, "a request starved"
    assert bench.pool.num_free == bench.pool.capacity
    for name, end in finished.items():
        job = jobs[int(name)]
        assert end.usage.thinking_tokens == job.prefix + thinking[name]
        assert thinking[name] <= job.budget
        assert end.reason is FinishReason.CANCELLED or end.usage.answer_tokens <= job.answer


def job(**overrides) -> Job:
    settings = {"arrives": 0, "prompt": 4, "prefix": 0, "budget": 8, "answer": 4, "aborts": None}
    return Job(**(settings | overrides))


def test_decode_goes_on_while_a_long_prompt_is_prefilled():
    bench = Bench()
    bench.add("short", job())
    bench.step()
    bench.add("long", job(prompt=24))

    plans = [bench.step()[0] for _ in range(3)]

    for plan in plans:
        assert [s.request.request_id for s in plan.decode] == ["short"]
        assert [c.num_tokens for c in plan.chunks] == [8]


def test_a_forced_close_is_one_chunk_and_samples_once():
    bench = Bench()
    bench.add("a", job(budget=1))
    bench.step()

    plan, _ = bench.step()

    (chunk,) = plan.chunks
    assert chunk.sequence.ids[chunk.start : chunk.end] == [9, 5, 6, CLOSE]
    assert (plan.decode, len(plan.sampled)) == ([], 1)


def test_abort_frees_the_pages_at_once():
    bench = Bench()
    bench.add("a", job(prompt=12))
    bench.step()
    assert bench.pool.num_free < bench.pool.capacity

    output = bench.scheduler.abort("a", bench.now_s)

    assert output is not None
    assert output.finished is not None
    assert output.finished.reason is FinishReason.CANCELLED
    assert bench.pool.num_free == bench.pool.capacity
    assert bench.scheduler.abort("a", bench.now_s) is None


def test_nothing_is_admitted_unless_the_whole_prompt_and_the_watermark_fit():
    bench = Bench(num_pages=11, watermark=0.3)  # three pages stay free
    bench.add("a", job(prompt=16, budget=2, answer=1))
    for _ in range(2):
        bench.step()
    bench.add("b", job(prompt=16, budget=2, answer=1))
    assert bench.pool.num_free > 4  # enough for b, but for the watermark

    bench.step()

    assert [s.request.request_id for s in bench.scheduler.waiting] == ["b"]


def test_the_victim_is_the_cheapest_to_recompute():
    bench = Bench(num_pages=10, watermark=0.0)
    bench.add("old", job(prompt=16, budget=12))
    for _ in range(3):
        bench.step()
    bench.add("new", job(prompt=8, budget=12))
    while bench.scheduler.num_preemptions == 0:
        bench.step()

    assert [s.request.request_id for s in bench.scheduler.running] == ["old"]


def test_a_request_that_can_never_fit_is_refused():
    bench = Bench(num_pages=5)

    with pytest.raises(InvalidRequest, match="KV pages"):
        bench.add("a", job(prompt=20))


def test_a_full_queue_is_said():
    bench = Bench(max_waiting=1)
    bench.add("a", job())

    with pytest.raises(QueueFull):
        bench.add("b", job())


def test_engine_seconds_add_up_to_the_steps():
    bench = Bench()
    bench.add("a", job())
    bench.add("b", job(prompt=9, budget=3))
    ends = []
    while bench.scheduler.has_work:
        ends += [o.finished for o in bench.step()[1] if o.finished]

    assert sum(end.usage.engine_seconds for end in ends) == pytest.approx(bench.now_s)
