"""Every invariant after every step, whatever arrives, is cancelled, forks, promotes or drops."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.workers.engine.scheduler_bench import CLOSE, EOS, SOME, Bench, job
from workers.engine import EngineOutput, Finished, FinishReason, ThinkingStop
from workers.engine.branch import Branch
from workers.engine.errors import ForkRefused

TOKENS = st.sampled_from([SOME, SOME, SOME, SOME, 10, CLOSE, EOS])
PROMPTS = st.lists(st.sampled_from([30, 31]), min_size=1, max_size=20)
NAN = float("nan")


class Workload(RuleBasedStateMachine):
    """Bench.step checks what each query sees, and the books of pages and slots."""

    @initialize(
        window=st.none() | st.integers(1, 10),
        num_pages=st.integers(14, 40),
        probation_tokens=st.integers(0, 12),
        prefix_cache=st.booleans(),
    )
    def start(self, window, num_pages, **settings):
        self.bench = Bench(window, num_pages, max_running=5, max_branch_share=0.4, **settings)
        self.budgets: dict[str, tuple[int, int, int]] = {}
        self.branches: list[Branch] = []
        self.thinking: dict[str, int] = {}
        self.answers: dict[str, int] = {}
        self.finished: dict[str, Finished] = {}

    @rule(
        prompt=PROMPTS,
        prefix=st.just(0) | st.integers(0, 10),
        budget=st.integers(0, 20),
        answer=st.integers(1, 6),
        expected=st.none() | st.floats(0, 30),
    )
    def arrive(self, prompt, prefix, budget, answer, expected):
        work = job(
            prompt=len(prompt), prefix=prefix, budget=budget, answer=answer, expected=expected
        )
        if self.bench.geometry.resident_pages(work.max_tokens) <= self.bench.pool.capacity:
            name = str(len(self.budgets))
            self.budgets[name] = (prefix, prefix + budget, answer)
            self.bench.add(name, work, ids=prompt)

    @precondition(lambda self: len(self.budgets) > len(self.finished))
    @rule(data=st.data())
    def cancel(self, data):
        name = data.draw(st.sampled_from(sorted(set(self.budgets) - set(self.finished))))
        output = self.bench.scheduler.abort(name, self.bench.now_s)
        assert output is not None
        self.collect([output])

    @precondition(lambda self: self.bench.scheduler.running)
    @rule(
        data=st.data(),
        suffix=st.sampled_from([(), (CLOSE,), (5, CLOSE), (5, 6, CLOSE, 7, 8)]),
        tokens=st.integers(1, 8),
        before_newest=st.booleans(),
    )
    def fork(self, data, suffix, tokens, before_newest):
        name = data.draw(st.sampled_from(self.bench.running()))
        free = self.bench.pool.num_free
        try:
            branch = self.bench.fork(
                name, suffix, tokens, before_newest=before_newest and bool(suffix)
            )
        except ForkRefused:
            return
        assert free - self.bench.pool.num_free <= 1, "a fork copies one page at most"
        if branch is not None:
            self.branches.append(branch)

    @precondition(lambda self: any(branch.end is None for branch in self.branches))
    @rule(data=st.data(), is_promoted=st.booleans())
    def decide(self, data, is_promoted):
        branch = data.draw(st.sampled_from([b for b in self.branches if b.end is None]))
        scheduler = self.bench.scheduler
        if is_promoted:
            output = scheduler.promote(branch, ThinkingStop.CONFIDENT, self.bench.now_s)
            self.collect([output])
        else:
            scheduler.branches.drop(branch)
        scheduler.check()

    @rule(tokens=st.lists(TOKENS, min_size=1, max_size=8), nan_at=st.none() | st.integers(0, 30))
    def step(self, tokens, nan_at):
        rows = iter(range(1000))
        _, outputs = self.bench.step(
            lambda sequence: tokens[sequence.order % len(tokens)],
            lambda _: NAN if next(rows) == nan_at else -1.0,
        )
        self.collect(outputs)

    def collect(self, outputs: list[EngineOutput]) -> None:
        for output in outputs:
            name = output.request_id
            assert name not in self.finished, "an output after the end"
            self.thinking[name] = self.thinking.get(name, 0) + len(output.thinking_ids)
            self.answers[name] = self.answers.get(name, 0) + len(output.answer_ids)
            if output.finished is not None:
                self.finished[name] = output.finished

    def teardown(self):
        if not hasattr(self, "bench"):
            return
        for _ in range(3000):
            if not self.bench.scheduler.has_work:
                break
            self.collect(self.bench.step(lambda _: SOME)[1])
        assert set(self.finished) == set(self.budgets), "a request starved"
        assert self.bench.pool.num_free == self.bench.pool.capacity, "a page leaked"
        for name, end in self.finished.items():
            self.check_books(name, end)

    def check_books(self, name: str, end: Finished) -> None:
        prefix, budget, answer = self.budgets[name]
        assert end.usage.thinking_tokens == prefix + self.thinking[name] <= budget
        assert end.usage.answer_tokens == self.answers[name] <= answer
        assert (end.reason is FinishReason.FAILED) == bool(end.failure)
        if end.reason in (FinishReason.STOP, FinishReason.LENGTH):
            assert self.answers[name] > 0


Workload.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestWorkload = Workload.TestCase
