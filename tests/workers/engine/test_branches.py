"""Forks of a request, with a fake runner: shared pages, no harm to anybody, exact books."""

import pytest

from tests.workers.engine.scheduler_bench import CLOSE, EOS, SOME, Bench, job
from workers.engine import FinishReason, ThinkingStop
from workers.engine.branch import Branch, BranchEnd
from workers.engine.errors import BranchEnded, ForkRefused


@pytest.fixture
def bench() -> Bench:
    """A request "a" that has thought three tokens, in roomy memory."""
    bench = Bench(num_pages=60)
    bench.add("a", job(prompt=6, budget=20))
    for _ in range(3):
        bench.step()
    return bench


def forked(bench: Bench, **settings) -> Branch:
    branch = bench.fork("a", **settings)
    assert branch is not None
    return branch


def finish(bench: Bench, choose=lambda _: SOME):
    """Run to the end: what "a" was given, and how it ended."""
    outputs = []
    while bench.scheduler.has_work:
        outputs += bench.step(choose)[1]
    assert bench.pool.num_free == bench.pool.capacity
    return outputs


@pytest.mark.parametrize("steps", range(4))
def test_a_fork_takes_one_page_for_a_partial_tail_and_none_else(bench, steps):
    for _ in range(steps):
        bench.step()
    free, (sequence,) = bench.pool.num_free, bench.scheduler.running

    branch = forked(bench)

    has_tail = sequence.num_computed % 4 != 0
    assert bench.pool.num_free == free - has_tail
    assert branch.pages[:-1] == sequence.pages[:-1]
    assert (branch.pages[-1] == sequence.pages[-1]) != has_tail


def test_a_branch_is_fed_its_suffix_and_rests_after_its_tokens(bench):
    branch = forked(bench, suffix=(5, CLOSE, 7), tokens=2)

    plan, _ = bench.step()
    bench.step(lambda _: 11)
    plan_of_rest, _ = bench.step()

    (chunk,) = plan.chunks
    assert branch.ids[chunk.start + 1 : chunk.end] == [5, CLOSE, 7]
    assert branch.answer_ids == [SOME, 11]
    assert branch.is_resting
    assert branch not in plan_of_rest.sampled


def test_a_branch_keeps_how_sure_the_model_was_of_each_token_its_end_included(bench):
    branch = forked(bench, suffix=(), tokens=5)
    for step, token in enumerate((SOME, CLOSE, 12, EOS), start=1):
        bench.step(
            lambda sequence, token=token: token if sequence is branch else SOME,
            lambda _, step=step: -step,
            lambda sequence, step=step: step / 2 if sequence is branch else 9.0,
        )

    assert branch.is_resting
    assert branch.sampled_logprobs == [-1, -2, -3, -4]
    assert branch.sampled_entropies == [0.5, 1.0, 1.5, 2.0]
    assert branch.logprobs == [-3]


def test_a_promoted_branch_is_the_request_and_its_answer_goes_on(bench):
    branch = forked(bench, tokens=2)
    for _ in range(2):
        bench.step(lambda _: 12)
    free_before = bench.pool.num_free

    output = bench.scheduler.promote(branch, ThinkingStop.CONFIDENT, bench.now_s)
    bench.scheduler.check()
    end = finish(bench, lambda _: 13)[-1].finished

    assert free_before < bench.pool.num_free
    assert (output.thinking_ids, output.answer_ids) == ((SOME, SOME, SOME), (12, 12))
    assert branch.end is BranchEnd.PROMOTED
    assert (end.stop, end.reason) == (ThinkingStop.CONFIDENT, FinishReason.LENGTH)
    assert (end.usage.thinking_tokens, end.usage.answer_tokens) == (3, 4)
    assert end.usage.forced_tokens == 1
    assert end.usage.probe_tokens == 2  # what the parent thought beside it
    assert end.usage.engine_seconds == pytest.approx(bench.now_s)


def test_a_branch_that_ended_its_answer_ends_the_request_when_promoted(bench):
    branch = forked(bench, tokens=5)
    bench.step(lambda _: 12)
    bench.step(lambda sequence: EOS if sequence is branch else SOME)
    assert branch.is_resting

    output = bench.scheduler.promote(branch, ThinkingStop.CONFIDENT, bench.now_s)

    assert output.finished is not None
    assert output.finished.reason is FinishReason.STOP
    assert output.answer_ids == (12,)
    assert not bench.scheduler.has_work
    assert bench.pool.num_free == bench.pool.capacity


def test_a_dropped_branch_leaves_its_cost_and_nothing_else(bench):
    branch = forked(bench, suffix=(CLOSE, 7), tokens=3)
    for _ in range(2):
        bench.step()

    bench.scheduler.branches.drop(branch)
    bench.scheduler.branches.drop(branch)
    outputs = finish(bench)

    assert branch.end is BranchEnd.DROPPED
    end = outputs[-1].finished
    assert end.usage.probe_tokens == 2 + 2
    assert end.usage.thinking_tokens == 20
    assert end.usage.engine_seconds == pytest.approx(bench.now_s)
    with pytest.raises(BranchEnded, match="dropped"):
        bench.scheduler.promote(branch, ThinkingStop.CONFIDENT, bench.now_s)


def test_thinking_that_a_promotion_would_take_back_is_not_handed_over():
    bench = Bench(num_pages=60, thinking_stream_tokens=2)
    bench.add("a", job(budget=20))
    for _ in range(3):
        bench.step()
    branch = forked(bench)

    held = [o for _ in range(6) for o in bench.step()[1]]
    bench.scheduler.branches.drop(branch)
    later = bench.step()[1]

    assert sum(len(o.thinking_ids) for o in held) <= 1
    assert len(later[0].thinking_ids) >= 6


def test_a_parent_that_closes_its_thinking_drops_its_branches(bench):
    branch = forked(bench)
    bench.step()

    bench.step(lambda _: CLOSE)

    assert branch.end is BranchEnd.DROPPED
    assert finish(bench)[-1].finished.usage.probe_tokens == 1 + 2


def test_an_aborted_parent_takes_its_branches_with_it(bench):
    branch = forked(bench)
    bench.step()

    output = bench.scheduler.abort("a", bench.now_s)

    assert branch.end is BranchEnd.DROPPED
    assert output.finished.usage.probe_tokens == 1 + 1
    assert bench.pool.num_free == bench.pool.capacity


def test_at_most_a_quarter_of_the_batch_are_branches(bench):
    assert bench.fork("a") is not None
    assert bench.fork("a") is None  # of four


def test_branches_have_rows_of_their_own_when_requests_take_all():
    bench = Bench(num_pages=60, max_running=4)
    for name in "abcdefgh":
        bench.add(name, job())
    for _ in range(3):
        bench.step()
    branch = forked(bench)

    bench.step()

    assert branch.end is None
    assert bench.running() == ["a", "b", "c", "d"]
    assert branch.num_sampled == 1


def test_a_branch_gives_its_pages_to_a_request_before_anyone_is_preempted():
    bench = Bench(num_pages=9, watermark=0.0)
    bench.add("a", job(prompt=8, budget=16))
    for _ in range(4):
        bench.step()
    branch = forked(bench, suffix=(), tokens=30)

    while branch.end is None:
        bench.step()

    assert bench.scheduler.num_preemptions == 0
    assert bench.scheduler.branches.num_dropped == 1
    finish(bench)
    assert bench.scheduler.num_preemptions == 0


def test_there_is_no_branch_below_the_watermark():
    bench = Bench(num_pages=11, watermark=0.5)
    bench.add("a", job(prompt=14, budget=8))
    for _ in range(5):
        bench.step()

    assert bench.pool.num_free > 0
    assert bench.fork("a") is None


def test_a_preempted_parent_drops_its_branches():
    bench = Bench(num_pages=60, probation_tokens=2, max_running=4, demoted_floor=0.0)
    bench.add("a", job(budget=20))
    for _ in range(4):
        bench.step()
    branch = forked(bench)
    parent = branch.parent
    for index in range(4):
        bench.add(f"new{index}", job(budget=20))

    while parent.is_running:
        bench.step()

    assert branch.end is BranchEnd.DROPPED


def test_a_branch_without_a_suffix_thinks_on_as_its_parent_does(bench):
    branch = forked(bench, suffix=(), tokens=10)

    for token in (21, 22, 23):
        bench.step(lambda _, token=token: token)

    assert branch.thinking_ids == [21, 22, 23]
    assert branch.ids == branch.parent.ids


def test_a_branch_whose_logits_are_not_finite_is_dropped_alone(bench):
    branch = forked(bench)

    bench.step(logprob=lambda s: float("nan") if s is branch else -1.0)

    assert branch.end is BranchEnd.DROPPED
    assert bench.scheduler.num_failures == 1
    assert finish(bench)[-1].finished.reason is FinishReason.LENGTH


@pytest.mark.parametrize("window", [None, 6])
def test_pages_of_a_branch_are_right_with_and_without_a_window(window):
    bench = Bench(window, num_pages=60)
    bench.add("a", job(prompt=10, budget=30))
    for _ in range(9):
        bench.step()
    branch = forked(bench, tokens=20)

    for _ in range(12):
        bench.step()
    bench.scheduler.promote(branch, ThinkingStop.CONFIDENT, bench.now_s)

    finish(bench)


def refusal(bench: Bench, name: str, **settings) -> str:
    with pytest.raises(ForkRefused) as caught:
        bench.fork(name, **settings)
    return str(caught.value)


def test_a_fork_that_cannot_be_is_refused_with_its_reason(bench):
    bench.add("long", job(prompt=30))
    bench.step()
    assert "8 of its 30 tokens are computed" in refusal(bench, "long")

    for index in range(4):
        bench.add(f"w{index}", job(prompt=30))
    assert "waits for a slot" in refusal(bench, "w3")

    assert "max_tokens" in refusal(bench, "a", tokens=0)
    assert "max_model_len" in refusal(bench, "a", suffix=(SOME,) * 20_000)
    bench.step(lambda _: CLOSE)
    assert "does not think any more" in refusal(bench, "a")
