import pytest

from workers.engine.metrics import EngineMetrics
from workers.engine.plan import StepPlan


def decode_step(num_sequences: int) -> StepPlan:
    sequences = [object()] * num_sequences
    return StepPlan(sequences, [], sequences, None)  # type: ignore[arg-type] # never looked into


def test_the_pace_follows_a_batch_that_grows_within_a_second():
    metrics = EngineMetrics()
    for _ in range(10_000):
        metrics.record_step(decode_step(1), 0.002)
    for _ in range(50):
        metrics.record_step(decode_step(40), 0.020)

    assert metrics.time_per_output_token_s == pytest.approx(0.0155, rel=0.01)


def test_the_first_step_sets_the_pace():
    metrics = EngineMetrics()

    metrics.record_step(decode_step(1), 0.003)

    assert metrics.time_per_output_token_s == 0.003
