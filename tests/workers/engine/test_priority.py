"""Levels: whoever has had little goes first, whoever outlives all is not forgotten."""

import pytest

from tests.workers.engine.scheduler_bench import SOME, TOKENS, Bench, job
from workers.engine import EngineRequest
from workers.engine.priority import expected_remaining_tokens
from workers.engine.sequence import Sequence


def busy_bench(**overrides) -> Bench:
    """Four demoted requests on four slots; one of them keeps its slot whatever comes."""
    settings = {"num_pages": 300, "probation_tokens": 4, "preemption_grace_s": 3.0}
    bench = Bench(**(settings | overrides))
    for index in range(4):
        bench.add(f"old{index}", job(budget=40 + 10 * index))
    for _ in range(6):
        bench.step()
    assert bench.running() == ["old0", "old1", "old2", "old3"]
    return bench


def steps_until_running(bench: Bench, name: str) -> int:
    for steps in range(400):
        if name in bench.running():
            return steps
        bench.step()
    raise AssertionError(f"{name} starved")


def preemptions_of(bench: Bench, beginning: str) -> int:
    everybody = [*bench.scheduler.running, *bench.scheduler.waiting]
    named = [s for s in everybody if s.request.request_id.startswith(beginning)]
    return sum(sequence.num_preemptions for sequence in named)


def test_a_new_request_gets_the_slot_of_a_demoted_one_after_the_grace():
    bench = busy_bench()
    bench.add("new", job(budget=2, answer=1))

    assert steps_until_running(bench, "new") == 4
    assert bench.scheduler.num_preemptions == 1


def test_the_one_with_most_to_come_gives_way_and_comes_back_when_there_is_room():
    bench = Bench(num_pages=300, probation_tokens=4)
    for index, expected in enumerate((20, 39, 25, 30)):
        bench.add(f"old{index}", job(budget=40, expected=expected))
    for _ in range(6):
        bench.step()
    bench.add("new", job(budget=2, answer=1))

    steps_until_running(bench, "new")
    assert bench.waiting() == ["old1"]

    for _ in range(4):
        bench.step()
    assert "old1" in bench.running()


def test_the_demoted_keep_their_floor_of_slots():
    bench = busy_bench(demoted_floor=0.5)
    for index in range(8):
        bench.add(f"new{index}", job(budget=2, answer=1))

    for _ in range(8):
        bench.step()
        assert sum(name.startswith("old") for name in bench.running()) >= 2
    assert preemptions_of(bench, "old") == 2


def test_who_gave_way_often_is_spared_while_others_are_not():
    bench = busy_bench(demoted_floor=0.0, preemption_grace_s=0.0, max_preemptions=1)
    bench.add("new0", job(budget=2, answer=1))
    bench.step()
    (longest,) = bench.waiting()
    steps_until_running(bench, longest)
    bench.add("new1", job(budget=2, answer=1))
    bench.step()

    assert "new1" in bench.running()
    assert longest in bench.running()


def test_a_batch_of_demoted_requests_never_keeps_a_new_one_waiting():
    """However often they gave way before: a limit on that once made them hold every slot."""
    bench = busy_bench(demoted_floor=0.0, preemption_grace_s=0.0, max_preemptions=0)
    for index in range(12):
        bench.add(f"new{index}", job(budget=2, answer=1))
        bench.step()
        assert f"new{index}" in bench.running()


def test_a_short_request_takes_the_slot_of_a_longer_one_on_probation():
    bench = Bench(num_pages=300, probation_tokens=32, max_running=1, preemption_grace_s=0.0)
    bench.add("longer", job(budget=30))
    for _ in range(5):
        bench.step()
    bench.add("short", job(budget=1, answer=1))
    bench.step()

    assert bench.running() == ["short"]
    assert bench.waiting() == ["longer"]


def test_nobody_gives_way_to_one_that_has_had_as_much():
    bench = Bench(num_pages=300, probation_tokens=64, max_running=1, preemption_grace_s=0.0)
    bench.add("first", job(budget=30))
    bench.step()
    bench.add("second", job(budget=30))
    for _ in range(3):
        bench.step()

    assert bench.running() == ["first"]


def test_who_is_about_to_end_keeps_its_slot_while_on_probation():
    bench = Bench(num_pages=300, probation_tokens=32, max_running=2, preemption_grace_s=0.0)
    bench.add("ending", job(budget=30, expected=12))
    bench.add("unsure", job(budget=30, expected=28))
    for _ in range(9):
        bench.step()
    bench.add("short", job(budget=1, answer=1))
    bench.step()

    assert sorted(bench.running()) == ["ending", "short"]


def test_who_has_more_to_come_than_a_new_one_may_have_first_is_not_about_to_end():
    """Under load every slot was held by requests in their second half, and the shortest waited."""
    bench = Bench(num_pages=300, probation_tokens=64, max_running=1, preemption_grace_s=0.0)
    bench.add("second half", job(budget=30))
    for _ in range(20):
        bench.step()
    bench.add("new", job(budget=1, answer=1))
    bench.step()

    assert bench.running() == ["new"]


def test_one_that_resumes_past_its_probation_is_prefilled_little_by_little():
    bench = Bench(
        num_pages=300, probation_tokens=8, prefill_chunk_tokens=64, min_prefill_chunk_tokens=4
    )
    bench.add("new", job(budget=30))
    bench.step()
    bench.add("resumed", job(prefix=40, budget=4))
    plan, _ = bench.step()
    assert plan.num_prefill_tokens == 4

    bench.add("another", job(prompt=20))
    plan, _ = bench.step()
    assert plan.num_prefill_tokens == 20 + 4


def test_nobody_is_preempted_while_slots_are_idle():
    bench = Bench(num_pages=300, probation_tokens=2, preemption_grace_s=0.0)
    for name in "abc":
        bench.add(name, job(budget=30))
    for _ in range(5):
        bench.step()
    bench.add("new", job())
    bench.step()

    assert bench.running() == ["a", "b", "c", "new"]
    assert bench.scheduler.num_preemptions == 0


def test_a_segment_that_resumes_a_long_thinking_waits_behind_new_requests():
    bench = Bench(num_pages=300, probation_tokens=8, max_running=1, demoted_floor=0.0)
    bench.add("running", job(budget=2, answer=1))
    bench.step()
    bench.add("resumed", job(prefix=10, budget=4))
    bench.add("new", job(budget=2, answer=1))

    steps_until_running(bench, "resumed")

    assert "new" not in bench.waiting()


def test_the_demoted_wait_by_what_is_expected_to_remain():
    bench = Bench(num_pages=300, probation_tokens=8, max_running=1)
    bench.add("running", job(budget=2, answer=1))
    bench.step()
    bench.add("long", job(prefix=10, budget=90, expected=80))
    bench.add("short", job(prefix=10, budget=90, expected=15))
    bench.add("unknown", job(prefix=30, budget=90))

    assert bench.waiting() == ["short", "unknown", "long"]


def test_waiting_makes_up_for_length_so_that_nobody_starves():
    bench = Bench(num_pages=300, probation_tokens=0, max_running=1, aging_tokens_per_s=2.0)
    bench.add("running", job(budget=10))
    bench.step()
    bench.add("long", job(prefix=1, budget=60, expected=41))
    for index in range(60):
        bench.add(f"short{index}", job(prefix=1, budget=5, expected=3))
        if "long" in bench.running():
            break
        bench.step()
        bench.step()

    assert "long" in bench.running()
    assert bench.waiting(), "the queue never emptied"


def test_new_requests_that_never_end_leave_the_demoted_their_floor():
    bench = Bench(num_pages=300, probation_tokens=6, max_running=2, preemption_grace_s=0.0)
    bench.add("long", job(prefix=6, budget=30, answer=1))
    ended: list[str] = []
    for index in range(80):
        bench.add(f"new{index}", job(budget=2, answer=1))
        ended += [o.request_id for o in bench.step()[1] if o.finished]

    assert "long" in ended


def sequence(thought: int, expected: float | None, budget: int = 1000) -> Sequence:
    request = EngineRequest(
        request_id="r",
        prompt_ids=[1],
        thinking_prefix_ids=[SOME] * thought,
        thinking_budget=budget,
        max_answer_tokens=8,
        expected_thinking_tokens=expected,
    )
    return Sequence.of(request, TOKENS, 0.0)


@pytest.mark.parametrize(
    ("thought", "expected", "remaining"),
    [
        (100, 250.0, 150),  # what the prediction leaves
        (100, None, 100),  # as much again
        (300, 250.0, 300),  # the prediction was too low
        (990, None, 18),  # the budget and the answer
    ],
)
def test_what_is_expected_to_remain(thought, expected, remaining):
    assert expected_remaining_tokens(sequence(thought, expected)) == remaining
