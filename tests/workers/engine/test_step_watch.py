"""An engine hangs when no step ends for longer than steps take there."""

import pytest

from workers.engine.metrics import EngineMetrics
from workers.engine.plan import StepPlan
from workers.engine.step_watch import StepWatch

TICK_S = 0.1


def ticks_until_stalled(watch: StepWatch, most: int = 1_000) -> int | None:
    for number in range(1, most + 1):
        watch.tick(TICK_S)
        if watch.is_stalled:
            return number
    return None


def test_with_work_and_no_step_it_is_stalled_in_time_for_a_router_within_3_s():
    watch = StepWatch()
    watch.expect()

    # A tick may be late, and the report of it too.
    assert ticks_until_stalled(watch) in (20, 21)


def test_an_idle_engine_never_hangs():
    watch = StepWatch()
    assert ticks_until_stalled(watch) is None

    watch.expect()
    watch.note(has_work=False, long_step_s=0.0)
    assert ticks_until_stalled(watch) is None


def test_each_step_begins_the_time_anew_and_ends_a_stall():
    watch = StepWatch(patience_s=1.0)
    watch.expect()
    for _ in range(50):
        watch.tick(TICK_S)
        watch.note(has_work=True, long_step_s=0.05)
    assert not watch.is_stalled

    assert ticks_until_stalled(watch) in (10, 11)
    watch.note(has_work=True, long_step_s=0.05)
    assert not watch.is_stalled


def test_more_work_for_an_engine_that_hangs_gives_it_no_more_time():
    watch = StepWatch(patience_s=1.0)
    for _ in range(15):
        watch.expect()
        watch.tick(TICK_S)

    assert watch.is_stalled


def test_where_steps_take_seconds_one_may_take_four_times_as_long():
    watch = StepWatch()
    watch.expect()
    watch.note(has_work=True, long_step_s=3.0)

    assert ticks_until_stalled(watch) in (120, 121)


@pytest.mark.parametrize(("durations_s", "long_step_s"), [([3.0, 3.0], 3.0), ([20.0], 0.05)])
def test_one_step_that_hung_does_not_become_the_measure(durations_s, long_step_s):
    metrics = EngineMetrics()
    plan = StepPlan([], [], [], None)  # type: ignore[arg-type] # never looked into
    for duration_s in [0.05] * 10 + durations_s + [0.05] * 10:
        metrics.record_step(plan, duration_s)

    assert metrics.long_step_s == pytest.approx(long_step_s, rel=0.05)


def test_long_steps_of_long_ago_are_forgotten():
    metrics = EngineMetrics()
    plan = StepPlan([], [], [], None)  # type: ignore[arg-type] # never looked into
    for duration_s in [3.0, 3.0] + [0.05] * 40_000:
        metrics.record_step(plan, duration_s)

    assert metrics.long_step_s < 0.5
