"""The random workload of test_random_workload.py on a real model, for a few seeds."""

from random import Random

import pytest

from tests.workers.engine.conftest import CLOSE
from workers.engine import ForkRefused
from workers.engine.branch import Branch


def fork_some(engine, random: Random) -> Branch | None:
    sequence = random.choice(engine.scheduler.running)
    try:
        branch = engine.fork(sequence.request.request_id, (CLOSE,), random.randint(1, 6))
    except ForkRefused:
        return None
    assert branch is None or isinstance(branch, Branch)
    return branch


@pytest.mark.parametrize("variant", ["qwen3", "qwen3-sliding", "qwen2-half-sliding"])
@pytest.mark.parametrize("seed", range(3))
def test_arrivals_cancels_forks_and_pressure_touch_only_whom_they_concern(
    make_engine, make_request, run, variant, seed
):
    random = Random(seed)
    requests = [
        make_request(
            index,
            thinking_budget=random.randint(0, 30),
            temperature=random.choice([0.0, 0.9]),
            expected_thinking_tokens=random.choice([None, 12.0]),
        )
        for index in range(24)
    ]
    expected = {r.request_id: run(make_engine(variant), r)[r.request_id] for r in requests}
    engine = make_engine(
        variant,
        num_pages=26,
        watermark=0.0,
        max_running=5,
        max_branch_share=0.4,
        probation_tokens=8,
        preemption_grace_s=0.0,
        prefill_chunk_tokens=16,
    )
    waiting, branches, changed = list(requests), [], set()
    outputs = []
    while waiting or engine.has_work:
        if waiting and random.random() < 0.4:
            engine.add_request(waiting.pop())
        if random.random() < 0.03 and engine.scheduler.running:
            name = random.choice(engine.scheduler.running).request.request_id
            engine.abort(name)
            changed.add(name)
        if random.random() < 0.4 and engine.scheduler.running:
            branches.append(fork_some(engine, random))
        for branch in list(engine.scheduler.branches):
            if branch.is_resting and random.random() < 0.3:
                changed.add(branch.request.request_id)
                engine.promote(branch)
            elif branch.is_resting:
                engine.drop(branch)
        outputs += engine.step()
        engine.scheduler.check()

    assert engine.pool.num_free == engine.pool.capacity
    assert engine.scheduler.num_preemptions > 0
    assert any(branch is not None for branch in branches)
    for name, (thinking, answer, *_) in expected.items():
        mine = [output for output in outputs if output.request_id == name]
        end = mine[-1].finished
        got = [token for output in mine for token in output.thinking_ids]
        assert end.usage.thinking_tokens == len(got)
        if name in changed:
            assert got == thinking[: len(got)]
        else:
            assert got == thinking
            assert [token for output in mine for token in output.answer_ids] == answer
