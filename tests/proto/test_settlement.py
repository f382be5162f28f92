"""The record of a finished request, and how segments add up."""

import json

import pytest

from ponder.bins import NUM_NEED_BINS
from ponder.settlement import Settlement, prompt_text, settlement_of, total_usage
from ponder.v1 import budget_pb2, reasoner_pb2, worker_pb2


def test_a_record_survives_json(make_settlement):
    record = make_settlement()

    line = record.to_json()

    assert "\n" not in line
    assert Settlement.from_json(line) == record


def test_a_record_of_version_1_is_read_without_the_probabilities_it_lacks(make_settlement):
    old = json.loads(make_settlement().to_json())
    del old["schema_version"], old["tier_propensities"], old["predicted_miss"]

    expected = make_settlement(tier_propensities=(), predicted_miss=None)
    assert Settlement.from_json(json.dumps(old)) == expected


def test_a_record_of_version_2_is_read_without_a_predicted_miss(make_settlement):
    old = json.loads(make_settlement().to_json()) | {"schema_version": 2}
    del old["predicted_miss"]

    assert Settlement.from_json(json.dumps(old)) == make_settlement(predicted_miss=None)


@pytest.mark.parametrize("version", [0, 4, "3", None])
def test_a_record_of_an_unknown_version_is_refused_by_its_version(make_settlement, version):
    later = json.loads(make_settlement().to_json()) | {"schema_version": version}

    with pytest.raises(ValueError, match=f"schema_version is {version!r}"):
        Settlement.from_json(json.dumps(later))


@pytest.mark.parametrize(
    "line", ["", "[]", "{}", '{"tier":"TIER_NONE"}', "\x00", '{"request_id":"a"}']
)
def test_anything_else_is_refused(line: str):
    with pytest.raises(ValueError, match=r".+"):
        Settlement.from_json(line)


@pytest.mark.parametrize("name", ["request_id", "tenant", "model"])
def test_a_record_needs_its_keys(make_settlement, name: str):
    with pytest.raises(ValueError, match=f"{name} is empty"):
        make_settlement(**{name: ""})


def test_a_predicted_bin_must_exist(make_settlement):
    with pytest.raises(ValueError, match=f"predicted_bin is {NUM_NEED_BINS + 1}"):
        make_settlement(predicted_bin=NUM_NEED_BINS + 1)


@pytest.mark.parametrize("miss", [-0.1, 1.1, float("nan")])
def test_a_predicted_miss_is_a_probability(make_settlement, miss: float):
    with pytest.raises(ValueError, match="predicted_miss is"):
        make_settlement(predicted_miss=miss)


def test_usage_adds_up_over_segments():
    prior = budget_pb2.Usage(
        prompt_tokens=20, thinking_tokens=999, probe_tokens=5, gpu_seconds=0.5, peak_kv_bytes=70
    )
    request = worker_pb2.ThinkRequest(
        thinking_prefix_ids=[7] * 50, settlement=worker_pb2.Settlement(prior_usage=prior)
    )
    segment = budget_pb2.Usage(
        prompt_tokens=20, thinking_tokens=30, probe_tokens=2, answer_tokens=4, peak_kv_bytes=60
    )

    assert total_usage(request, segment) == budget_pb2.Usage(
        prompt_tokens=20,
        thinking_tokens=80,
        probe_tokens=7,
        answer_tokens=4,
        gpu_seconds=0.5,
        peak_kv_bytes=70,
    )


def test_chat_messages_stand_for_the_prompt():
    messages = [budget_pb2.ChatMessage(role="user", content=text) for text in ("one", "two")]

    assert prompt_text(reasoner_pb2.ReasonRequest(prompt="one")) == "one"
    assert prompt_text(worker_pb2.ThinkRequest(messages=messages)) == "one\n\ntwo"


def think_request(**settlement) -> worker_pb2.ThinkRequest:
    known = worker_pb2.Settlement(tenant="tenant-1", predicted_bin=3, **settlement)
    return worker_pb2.ThinkRequest(
        request_id="r", model="m", prompt="secret", thinking_budget=500, settlement=known
    )


def test_the_prompt_is_kept_only_when_asked():
    done = worker_pb2.ThinkDone()

    dropped = settlement_of(think_request(), done, worker="w", finished_at_s=1.0)
    kept = settlement_of(think_request(store_prompt=True), done, worker="w", finished_at_s=1.0)

    assert (dropped.prompt, kept.prompt) == (None, "secret")


def test_without_a_prediction_there_is_no_predicted_bin():
    done = worker_pb2.ThinkDone()

    without = settlement_of(think_request(), done, worker="w", finished_at_s=1.0)
    predicted = settlement_of(
        think_request(prior_hazards=[0.5]), done, worker="w", finished_at_s=1.0
    )

    assert (without.predicted_bin, predicted.predicted_bin) == (None, 3)


def test_a_predicted_miss_of_0_is_not_one_that_is_missing():
    done = worker_pb2.ThinkDone()

    without = settlement_of(think_request(), done, worker="w", finished_at_s=1.0)
    sure = settlement_of(think_request(predicted_miss=0.0), done, worker="w", finished_at_s=1.0)

    assert (without.predicted_miss, sure.predicted_miss) == (None, 0.0)
