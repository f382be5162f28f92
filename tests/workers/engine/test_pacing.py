"""The prefill of a step takes what the decode leaves of the target."""

from typing import Any

import pytest

from workers.engine import EngineConfig
from workers.engine.pacing import PrefillPacer


def pacer(**overrides) -> PrefillPacer:
    settings: dict[str, Any] = {
        "model_dir": "unused",
        "prefill_chunk_tokens": 2048,
        "min_prefill_chunk_tokens": 64,
        "target_token_s": 0.05,
    }
    return PrefillPacer(EngineConfig(**(settings | overrides)))


def run(pacer: PrefillPacer, base_s: float, cost_s: float, steps: int = 200) -> int:
    """Steps of a machine that is exactly linear; returns the last chunk."""
    for step in range(steps):
        tokens = 0 if step % 4 == 0 else pacer.chunk_tokens(8)
        pacer.record(tokens, base_s + cost_s * tokens)
    return pacer.chunk_tokens(8)


def test_a_step_with_the_chosen_chunk_takes_the_target():
    chunk = run(pacer(), base_s=0.01, cost_s=1e-4)

    assert 0.01 + 1e-4 * chunk == pytest.approx(0.05, rel=0.01)


def test_a_faster_machine_gets_the_largest_chunk_and_a_slower_one_the_smallest():
    assert run(pacer(), base_s=0.001, cost_s=1e-6) == 2048
    assert run(pacer(), base_s=0.2, cost_s=1e-3) == 64


def test_the_chunk_follows_a_machine_that_becomes_slower():
    paced = pacer()
    before = run(paced, base_s=0.01, cost_s=1e-4)

    after = run(paced, base_s=0.01, cost_s=4e-4)

    assert after == pytest.approx(before / 4, rel=0.1)


def test_nobody_waits_while_nobody_decodes():
    paced = pacer()
    run(paced, base_s=0.2, cost_s=1e-3)

    assert paced.chunk_tokens(0) == 2048


def test_steps_that_are_all_alike_lay_their_time_on_the_tokens():
    paced = pacer()
    for _ in range(50):
        paced.record(1000, 0.1)

    assert paced.chunk_tokens(8) == pytest.approx(500, abs=1)


def test_the_first_chunk_is_the_largest():
    assert pacer().chunk_tokens(8) == 2048


def test_a_configured_chunk_below_the_least_is_kept():
    assert run(pacer(prefill_chunk_tokens=16), base_s=0.2, cost_s=1e-3) == 16
