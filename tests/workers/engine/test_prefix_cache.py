"""Equal prefixes are computed once, and never mistaken for each other."""

import pytest

from tests.workers.engine.scheduler_bench import SOME, Bench, job
from workers.engine.blocks import PagePool
from workers.engine.prefix_cache import PageKey, PrefixIndex, extend_keys


def keys_of(ids, num_pages, page_size=4):
    keys: list[PageKey] = []
    extend_keys(keys, ids, page_size, num_pages)
    return keys


def test_a_key_depends_on_all_tokens_before_the_page():
    first, second = keys_of([1, 2, 3, 4, 5, 6, 7, 8], 2), keys_of([0, 2, 3, 4, 5, 6, 7, 8], 2)

    assert first[1].tokens == second[1].tokens
    assert first[1].digest != second[1].digest


def test_keys_are_the_same_when_they_are_made_bit_by_bit():
    ids = list(range(40))
    keys = keys_of(ids, 3)
    extend_keys(keys, ids, 4, 10)

    assert keys == keys_of(ids, 10)


def test_a_digest_with_other_tokens_is_no_hit():
    index = PrefixIndex()
    (key,) = keys_of([1, 2, 3, 4], 1)
    index.add(7, key)

    assert index.find(key) == 7
    assert index.find(PageKey(key.digest, b"other tokens")) is None


def test_idle_pages_are_given_up_the_least_recently_used_first_and_the_tail_before_the_head():
    pool = PagePool(6)
    old, new = keys_of(range(8), 2), keys_of(range(100, 108), 2)
    for keys in (old, new):
        pages = pool.allocate(2)
        for page, key in zip(pages, keys, strict=True):
            pool.publish(page, key)
        pool.release(pages)

    pool.allocate(2)  # one is free, the other is taken from the idle

    assert [pool.find(key) is not None for key in (*old, *new)] == [True, False, True, True]


def test_a_page_that_is_found_again_is_not_given_up():
    pool = PagePool(3)
    (key,) = keys_of([1, 2, 3, 4], 1)
    (page,) = pool.allocate(1)
    pool.publish(page, key)
    pool.release([page])

    pool.share([page])

    assert pool.num_free == 1
    assert pool.allocate(1) != [page]


def steps_until(bench: Bench, count: int) -> list[int]:
    """Prefill tokens of the next steps."""
    return [bench.step()[0].num_prefill_tokens for _ in range(count)]


@pytest.mark.parametrize("window", [None, 5])
def test_a_prompt_is_found_and_its_last_token_is_computed_all_the_same(window):
    bench = Bench(window, num_pages=40)
    bench.add("a", job(prompt=16), ids=range(30, 46))
    bench.step()
    bench.step()

    bench.add("b", job(prompt=16), ids=range(30, 46))
    plan, _ = bench.step()

    (chunk,) = plan.chunks
    assert (chunk.start, chunk.end) == (12, 16)
    assert plan.sampled[-1] is chunk.sequence


def test_a_shared_prompt_costs_its_pages_once():
    bench = Bench(num_pages=40)
    for name in "abc":
        bench.add(name, job(prompt=13), ids=range(30, 43))
        bench.step()
        bench.step()
    prompts = [sequence.pages[:3] for sequence in bench.scheduler.running]
    tails = [page for sequence in bench.scheduler.running for page in sequence.pages[3:]]

    assert prompts == [prompts[0]] * 3
    assert bench.pool.capacity - bench.pool.num_free == 3 + len(tails)


def test_only_whole_pages_from_the_beginning_on_are_shared():
    bench = Bench(num_pages=40)
    bench.add("a", job(prompt=12), ids=range(30, 42))
    steps_until(bench, 2)

    bench.add("b", job(prompt=12), ids=[*range(30, 36), 99, *range(37, 42)])
    plan, _ = bench.step()

    assert plan.chunks[0].start == 4


def test_a_resumed_thinking_is_found():
    bench = Bench(num_pages=40)
    bench.add("a", job(prompt=4, budget=9), ids=range(30, 34))
    while bench.scheduler.has_work:
        bench.step()

    bench.add("b", job(prompt=4, prefix=9, budget=5), ids=range(30, 34))
    plan, _ = bench.step()

    (chunk,) = plan.chunks
    assert (chunk.start, chunk.end) == (12, 13)


@pytest.mark.parametrize(
    ("forgotten", "start"),
    [((), 16), ((0, 1), 16), ((2,), 8), ((3,), 12), ((0, 2), 0), ((1, 3), 4)],
)
def test_behind_a_window_only_the_pages_that_are_seen_must_be_found(forgotten, start):
    bench = Bench(6, num_pages=40)  # a query at 16 sees pages 2 and 3, at 12 pages 1 and 2
    bench.add("a", job(prompt=17), ids=range(30, 47))
    while bench.scheduler.has_work:
        bench.step()
    pages = [bench.pool.find(key) for key in keys_of(list(range(30, 47)), 4)]
    bench.pool.forget([page for page in map(pages.__getitem__, forgotten) if page is not None])

    bench.add("b", job(prompt=17), ids=range(30, 47))
    plan, _ = bench.step()

    assert plan.chunks[0].start == start


def test_a_preempted_request_finds_what_it_had_computed():
    bench = Bench(num_pages=60, probation_tokens=2, max_running=1, demoted_floor=0.0)
    bench.add("a", job(prompt=8, budget=20))
    for _ in range(6):
        bench.step()
    bench.add("b", job(budget=1, answer=1))
    computed = bench.scheduler.running[0].num_computed

    while not (bench.running() == ["a"] and bench.scheduler.running[0].num_preemptions):
        plan, _ = bench.step()

    assert plan.chunks[0].start >= computed // 4 * 4


def test_pages_of_branches_are_not_found_until_they_are_the_request():
    bench = Bench(num_pages=60)
    bench.add("a", job(prompt=7, budget=30, answer=16))
    bench.step()
    bench.step()
    branch = bench.fork("a", suffix=(4, 50, 51, 52), tokens=9)
    assert branch is not None
    for _ in range(6):
        bench.step()
    text = list(branch.ids)
    num_pages = branch.num_computed // 4
    key = keys_of(text, num_pages)[-1]
    assert bench.pool.find(key) is None

    bench.scheduler.promote(branch, branch.parent.thinking.stop, bench.now_s)

    assert bench.pool.find(key) is not None


def test_pages_that_may_hold_a_nan_are_forgotten_and_cleared():
    bench = Bench(num_pages=40)
    bench.add("a", job(prompt=8), ids=range(30, 38))
    bench.step()
    pages = list(bench.scheduler.running[0].pages)

    bench.step(logprob=lambda _: float("nan"))
    soiled = bench.scheduler.memory.take_soiled_pages()
    bench.add("b", job(prompt=12), ids=range(30, 42))
    plan, _ = bench.step()

    assert set(pages) <= set(soiled)
    assert plan.chunks[0].start == 0


def test_without_the_cache_everything_is_computed():
    bench = Bench(num_pages=40, prefix_cache=False)
    for name in "ab":
        bench.add(name, job(prompt=8), ids=[SOME] * 8)
        plan, _ = bench.step()
        assert plan.chunks[0].start == 0
