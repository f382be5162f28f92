"""The scheduler under random workloads, with a fake runner that makes tokens up."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workers.engine.scheduler_bench import CLOSE, EOS, Bench, Job, job
from workers.engine import Finished, FinishReason, InvalidRequest, QueueFull

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
        for index, one in enumerate(jobs):
            if one.arrives == tick and bench.geometry.resident_pages(one.max_tokens) < num_pages:
                bench.add(str(index), one, ids=[1] * one.prompt)
                accepted.add(str(index))
            if one.aborts == tick and str(index) in accepted - set(finished):
                collect([bench.scheduler.abort(str(index), bench.now_s)])
                bench.scheduler.check()
        collect(bench.step(lambda _: random.choice([9, 9, 9, 9, 10, CLOSE, EOS]))[1])
        if tick > 40 and not bench.scheduler.has_work:
            break

    assert set(finished) == accepted, "a request starved"
    assert bench.pool.num_free == bench.pool.capacity
    for name, end in finished.items():
        one = jobs[int(name)]
        assert end.usage.thinking_tokens == one.prefix + thinking[name]
        assert thinking[name] <= one.budget
        assert end.reason is FinishReason.CANCELLED or end.usage.answer_tokens <= one.answer


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
