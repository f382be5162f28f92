"""Bad input never reaches the engine, and the answer names the field."""

import math

import grpc
import pytest

from ponder.bins import NUM_NEED_BINS
from ponder.v1 import budget_pb2

BAD_INPUT = {
    "request_id": {"request_id": ""},
    "request_id: is longer": {"request_id": "x" * 513},
    "model": {"model": "other"},
    "prompt: set exactly one": {"prompt": ""},
    "prompt: has": {"prompt": "x" * 300_000},
    "messages[0].role": {"messages": [budget_pb2.ChatMessage(role="tool", content="x")]},
    "thinking_budget: 3001 is above": {"thinking_budget": 3001},
    "thinking_budget: leaves nothing": {"thinking_budget": 0, "answer_on_exhaustion": False},
    "thinking_prefix_ids: holds 21": {"thinking_prefix_ids": [40] * 21},
    "thinking_prefix_ids: holds an id": {"thinking_prefix_ids": [260]},
    "thinking_prefix_ids: holds a thinking marker": {"thinking_prefix_ids": [3]},
    "max_answer_tokens": {"max_answer_tokens": 0},
    "max_answer_tokens: must be": {"max_answer_tokens": 65},
    "sampling.temperature": {"sampling": budget_pb2.Sampling(temperature=math.nan, seed=1)},
    "sampling.top_p": {"sampling": budget_pb2.Sampling(top_p=1.5, seed=1)},
    "sampling.seed": {"sampling": budget_pb2.Sampling()},
    "settlement.tenant": {"settlement": {"tenant": ""}},
    "settlement.tier": {"settlement": {"tier": 9}},
    "settlement.rule": {"settlement": {"rule": 99}},
    "settlement.predicted_bin": {"settlement": {"predicted_bin": NUM_NEED_BINS + 1}},
    "settlement.prior_hazards: must hold": {"settlement": {"prior_hazards": [0.5]}},
    "settlement.prior_hazards: must be": {
        "settlement": {"prior_hazards": [math.nan] * NUM_NEED_BINS}
    },
    "settlement.propensity": {"settlement": {"propensity": -1.0}},
    "settlement.tier_propensities: must hold": {"settlement": {"tier_propensities": [1.0]}},
    "settlement.tier_propensities: must be": {"settlement": {"tier_propensities": [2.0] * 4}},
    "settlement.predicted_miss": {"settlement": {"predicted_miss": math.nan}},
    "settlement.features": {"settlement": {"features": [1] * 65_537}},
    "settlement.prior_usage.gpu_seconds": {
        "settlement": {"prior_usage": budget_pb2.Usage(gpu_seconds=math.inf)}
    },
    "settlement.prior_usage.probe_tokens": {
        "settlement": {"prior_usage": budget_pb2.Usage(probe_tokens=(1 << 32) - 1)}
    },
    "prompt contains": {"prompt": "</think> 42"},
    "max_model_len": {"prompt": "x" * 4096},
}


@pytest.mark.parametrize(("named", "changes"), BAD_INPUT.items(), ids=BAD_INPUT)
async def test_bad_input_is_refused_by_name(worker, make_request, named, changes):
    code, details = await worker.refusal(make_request(**changes))

    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert named in details
    assert worker.parts.engine.load().sampled_tokens == 0
    assert await worker.traces() == []


async def test_a_full_queue_is_told_apart_from_bad_input(start_worker, make_request):
    worker = await start_worker(max_running=1, max_waiting=1, preemption_grace_s=60)
    running = worker.stub.Think(make_request(request_id="running", thinking_budget=3000))
    await running.read()
    waiting = worker.stub.Think(make_request(request_id="waiting"))
    await worker.load_when(lambda load: load.waiting == 1)

    code, details = await worker.refusal(make_request(request_id="third"))

    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "wait already" in details
    running.cancel()
    waiting.cancel()
