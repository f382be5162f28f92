"""`ponder traces drift`, on the real Redis."""

import json

import pytest
import redis
from click.testing import CliRunner

from ponder import keys
from ponder.cli import main
from ponder.rollout import Rollout
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_MODERATE
from tests.classifier.traces.conftest import MODEL, trace


def drift(redis_url, *arguments):
    command = ["traces", "drift", "--redis-url", redis_url, *map(str, arguments)]
    return CliRunner().invoke(main, command)


def store(redis_url, traces, model=MODEL):
    with redis.Redis.from_url(redis_url) as client:
        pipeline = client.pipeline()
        for record in traces:
            pipeline.xadd(keys.traces(model), {"settlement": record.to_json()})
        pipeline.execute()


def serve(redis_url, version, serialized):
    """Makes a version the champion; without a file it is not kept."""
    with redis.Redis.from_url(redis_url) as client:
        client.hset(keys.rollout(MODEL), mapping=Rollout(champion=version).to_hash())
        if serialized is not None:
            client.hset(keys.classifiers(MODEL), version, serialized)


def missing(count, missed):
    """Traces with a promised miss rate of 0.1, of which so many missed."""
    return [
        trace(
            request_id=f"r{i}",
            tier=TIER_COMPLEX if i % count < missed else TIER_MODERATE,
            escalations=int(i % count < missed),
            predicted_miss=0.1,
        )
        for i in range(count)
    ]


def test_traffic_as_promised_is_nothing_to_do(redis_url):
    store(redis_url, [record for _ in range(30) for record in missing(10, 1)])

    result = drift(redis_url, "--model", MODEL)

    assert result.exit_code == 0, result.output
    assert f"{MODEL}: 300 traces" in result.output
    assert "coverage residual" in result.output
    assert "the model has none of its own" in result.output


def test_coverage_that_is_lost_is_an_alarm_for_programs_too(redis_url):
    store(redis_url, [record for _ in range(30) for record in missing(10, 4)])

    result = drift(redis_url, "--json")

    assert result.exit_code == 3
    document = json.loads(result.stdout)["models"][MODEL]
    assert document["verdict"] == "alarm"
    assert "retrain" in document["advice"]
    residual = next(f for f in document["findings"] if f["name"] == "coverage residual")
    assert residual["value"] == pytest.approx(0.3)


def test_few_traces_are_said_to_be_few(redis_url):
    store(redis_url, missing(10, 1))

    result = drift(redis_url)

    assert result.exit_code == 0, result.output
    assert "too few" in result.output


def test_the_newest_traces_are_read_when_there_are_more(redis_url):
    old = [record for _ in range(30) for record in missing(10, 5)]
    store(redis_url, old + [record for _ in range(25) for record in missing(10, 1)])

    result = drift(redis_url, "--traces", 250, "--json")

    findings = json.loads(result.stdout)["models"][MODEL]["findings"]
    residual = next(f for f in findings if f["name"] == "coverage residual")
    assert residual["value"] == pytest.approx(0.0)


def test_a_model_without_traces_is_named(redis_url):
    result = drift(redis_url, "--model", "nobody")

    assert result.exit_code == 1
    assert "no traces of nobody" in result.output


def test_a_file_that_is_no_classifier_is_named(redis_url, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_text("bad")

    result = drift(redis_url, "--classifier", path)

    assert result.exit_code == 1
    assert "bad.onnx: not a readable ONNX graph" in result.output


def test_the_file_that_is_given_is_the_models_own(redis_url, classifier_path, classifier):
    store(redis_url, [trace(classifier_version=classifier.version) for _ in range(250)])

    result = drift(redis_url, "--classifier", classifier_path, "--json")

    findings = json.loads(result.stdout)["models"][MODEL]["findings"]
    share = next(f for f in findings if f["name"] == "own classifier")
    assert (share["value"], share["verdict"]) == (1.0, "ok")


def test_the_version_that_serves_is_the_models_own(redis_url, serialized, classifier):
    store(redis_url, [trace(classifier_version=classifier.version) for _ in range(250)])
    serve(redis_url, classifier.version, serialized)

    findings = json.loads(drift(redis_url, "--json").stdout)["models"][MODEL]["findings"]

    share = next(f for f in findings if f["name"] == "own classifier")
    assert (share["value"], share["verdict"]) == (1.0, "ok")


def test_a_file_goes_before_the_version_that_serves(redis_url, classifier_path, classifier):
    store(redis_url, [trace(classifier_version=classifier.version) for _ in range(250)])
    serve(redis_url, "0" * 16, b"nothing")

    assert "add it again" not in drift(redis_url, "--classifier", classifier_path).output
    assert "not a readable ONNX graph" in drift(redis_url).output


def test_a_version_that_serves_and_is_lost_is_named(redis_url):
    store(redis_url, missing(10, 1))
    serve(redis_url, "0" * 16, None)

    result = drift(redis_url)

    assert result.exit_code == 1
    assert f"version {'0' * 16} of {MODEL} is not in the store" in result.output
