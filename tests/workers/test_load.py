"""What a worker tells routers of its load."""

from dataclasses import replace
from typing import cast

from ponder.v1 import worker_pb2
from workers.backend import Backend
from workers.engine import EngineLoad
from workers.load import LoadFeed

IDLE = EngineLoad(
    running=0,
    waiting=0,
    pages_free=1,
    pages_total=1,
    preemptions=0,
    tokens_per_s=0.0,
    time_per_output_token_s=0.0,
    time_to_first_token_s=0.0,
    batch_size=0.0,
    long_step_s=0.0,
    prefix_tokens=0,
    branches_dropped=0,
    not_finite=0,
    out_of_memory=0,
    failed=0,
    step_faults=0,
    sampled_tokens=0,
    busy_s=0.0,
    finished=0,
)


class Fake:
    """A clock, and an engine that only has a load."""

    now_s, shown, is_well = 0.0, IDLE, True

    def load(self) -> EngineLoad:
        return self.shown

    def feed(self) -> LoadFeed:
        engine = cast(Backend, self)
        return LoadFeed(engine, worker_pb2.Load(), is_draining=bool, clock=lambda: self.now_s)


def test_the_pace_of_a_worker_that_stalled_and_then_idles_is_forgotten():
    """No router sent it long work any more, so nothing measured it anew: locked out for good."""
    fake = Fake()
    feed = fake.feed()
    fake.shown = replace(IDLE, time_per_output_token_s=5.0, sampled_tokens=1)
    assert feed.current().time_per_output_token_ms == 5_000.0

    fake.now_s = 9.9
    assert feed.current().time_per_output_token_ms == 5_000.0
    fake.now_s = 10.1
    assert feed.current().time_per_output_token_ms == 0.0


def test_while_it_runs_the_pace_is_told_however_slow_a_step_is():
    fake = Fake()
    feed = fake.feed()
    fake.shown = replace(IDLE, time_per_output_token_s=5.0, sampled_tokens=1, running=1)
    fake.now_s = 60.0

    assert feed.current().time_per_output_token_ms == 5_000.0


async def test_a_worker_tells_how_many_slots_long_work_keeps(start_worker):
    worker = await start_worker(max_running=10, demoted_floor=0.25, probation_tokens=9)
    load = await worker.load_when(lambda load: True)

    assert (load.max_running, load.demoted_slots, load.probation_tokens) == (10, 3, 9)
