"""Real processes in `ponder bench blocking`: its arrivals and figures, and that the control is one.

The processes themselves run in tests/cli/test_bench.py.
"""

import grpc
import numpy as np
import pytest

from workers.bench.blocking.processes.asking import Arrivals, Pool, Question, Reply
from workers.bench.blocking.processes.course import Course, Round
from workers.bench.blocking.processes.figures import (
    Served,
    counts,
    offered_load,
    ratios,
    slowdowns,
)
from workers.bench.blocking.processes.stacks import ONE_QUEUE, PONDER, SUBJECTS
from workers.bench.blocking.service import StepModel
from workers.bench.blocking.worker import Script, SimulatedWorker, request_of, worker_config
from workers.config import WorkerConfig

EASY = Question("easy", 0, need_tokens=10, sampled_tokens=20, alone_s=0.5)
HARD = Question("hard", 1, need_tokens=900, sampled_tokens=910, alone_s=2.0)
POOL = Pool(easy=[EASY], hard=[HARD])


def answer(question: Question, slowdown: float) -> Reply:
    return Reply(
        response_s=slowdown * question.alone_s,
        thinking_tokens=question.need_tokens,
        sampled_tokens=question.sampled_tokens,
    )


def course(ours: list[Reply], theirs: list[Reply], is_hard: list[bool], every_s: float) -> Course:
    """One request every `every_s`."""
    count = len(is_hard)
    arrival_s = np.arange(count, dtype=np.float64) * every_s
    arrivals = Arrivals(arrival_s, np.array(is_hard), np.zeros(count, np.int64))
    return Course(POOL, [Round(100.0, arrivals, {PONDER: ours, ONE_QUEUE: theirs})])


def test_arrivals_are_nine_easy_to_one_hard_at_the_rate_asked_and_the_same_again():
    drawn, again = (Arrivals.draw(POOL, 50.0, 100.0, seed=3) for _ in range(2))

    assert len(drawn.arrival_s) == pytest.approx(5_000, rel=0.06)
    assert drawn.is_hard.mean() == pytest.approx(0.1, abs=0.02)
    assert (np.diff(drawn.arrival_s) >= 0).all()
    assert (drawn.arrival_s == again.arrival_s).all()
    assert (drawn.is_hard == again.is_hard).all()
    assert drawn.question(POOL, int(np.argmax(drawn.is_hard))) is HARD


def test_slowdowns_are_by_class_and_their_ratio_is_that_of_the_same_arrivals():
    is_hard = [index % 5 == 0 for index in range(40)]
    ours = [answer(HARD, 4.0) if hard else answer(EASY, 1.5) for hard in is_hard]
    theirs = [answer(HARD, 2.0) if hard else answer(EASY, 3.0) for hard in is_hard]
    found = course(ours, theirs, is_hard, every_s=0.2)

    assert slowdowns(Served.of(found, PONDER)) == pytest.approx(
        {
            "easy_p50_slowdown": 1.5,
            "easy_p99_slowdown": 1.5,
            "hard_p50_slowdown": 4.0,
            "hard_p99_slowdown": 4.0,
        }
    )
    assert ratios(found)["easy_p99_slowdown"] == pytest.approx((0.5, 0.5, 0.5))
    assert ratios(found)["hard_p99_slowdown"] == pytest.approx((2.0, 2.0, 2.0))


def test_an_interval_is_as_wide_as_stretches_differ():
    ours = [answer(EASY, 1.0) for _ in range(40)]
    steady = [answer(EASY, 2.0) for _ in range(40)]
    uneven = [answer(EASY, 4.0 if index >= 35 else 2.0) for index in range(40)]

    assert np.ptp(ratios(course(ours, steady, [False] * 40, 2.0))["easy_p99_slowdown"]) == 0
    ratio, low, high = ratios(course(ours, uneven, [False] * 40, 2.0))["easy_p99_slowdown"]
    assert low == pytest.approx(0.25)
    assert ratio < high == pytest.approx(0.5)


def test_whoever_is_not_answered_or_answered_with_less_is_counted():
    busy, lost = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE
    ours = [
        answer(EASY, 1.0),
        Reply(0.1, error=busy),
        Reply(0.1, error=lost),
        Reply(1.0, thinking_tokens=500, sampled_tokens=510),
    ]
    found = course(ours, ours, [False, False, False, True], every_s=1.0)

    served = Served.of(found, PONDER)
    counted = counts(served)
    assert (counted["refused"], counted["easy_refused"], counted["failed"]) == (1, 1, 1)
    assert counted["cut"] == 1
    assert counted["mean_s"] == pytest.approx(0.75)
    assert slowdowns(served)["easy_p99_slowdown"] == 1.0


def test_the_first_seconds_of_a_round_do_not_count():
    ours = [answer(EASY, 9.0 if index < 5 else 1.0) for index in range(30)]
    found = course(ours, ours, [False] * 30, every_s=1.0)

    assert counts(Served.of(found, PONDER))["easy"] == 25
    assert slowdowns(Served.of(found, PONDER))["easy_p99_slowdown"] == 1.0


def test_the_load_is_what_the_arrivals_would_have_sampled_alone():
    replies = [answer(EASY, 1.0)] * 11
    found = course(replies, replies, [False] * 11, every_s=1.0)

    assert offered_load(found) == pytest.approx(11 * 20 / (10 * 100))


def test_workers_of_the_one_queue_serve_first_come_first():
    one_queue = next(subject for subject in SUBJECTS if subject.name == ONE_QUEUE)
    config = WorkerConfig.from_env(
        {
            "WORKER_MODEL_DIR": "reference",
            "WORKER_REDIS_URL": "redis://a",
            "WORKER_SPOOL_DIR": "spool",
            **one_queue.worker,
        }
    )
    worker = SimulatedWorker(
        worker_config(
            1,
            probation_tokens=config.probation_tokens,
            aging_tokens_per_s=config.aging_tokens_per_s,
        ),
        StepModel(base_s=0.01, row_s=0.0, prefill_s=0.0),
    )
    needs = [2_000, 1_500, 20, 700]
    for job, need in enumerate(needs):
        request = request_of(job, 8, 0, 10_000, float(need), answers=True)
        worker.add(request, Script(need, 4), now_s=0.001 * job)

    ended = []
    while worker.next_s is not None:
        ended += [output.request_id for output in worker.run()]

    assert ended == ["0", "1", "2", "3"]
    assert worker.scheduler.num_preemptions == 0
