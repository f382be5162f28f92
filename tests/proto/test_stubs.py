"""The wire contract: stubs are fresh, old bytes still parse, enums and rpcs keep the rules."""

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor

from ponder.v1 import budget_pb2, reasoner_pb2, worker_pb2

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
FILES = (budget_pb2.DESCRIPTOR, reasoner_pb2.DESCRIPTOR, worker_pb2.DESCRIPTOR)


def _has_pinned_generator() -> bool:
    try:
        return version("grpcio-tools") == "1.75.1"
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(
    not _has_pinned_generator() and not os.environ.get("CI"), reason="needs grpcio-tools==1.75.1"
)
def test_committed_stubs_are_what_the_sources_generate():
    command = [sys.executable, str(ROOT / "proto" / "generate.py"), "--check"]

    result = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (result.returncode, result.stderr) == (0, "")


def test_another_generator_version_is_refused(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    monkeypatch.setitem(generate.PINNED, "grpcio-tools", "0.0.1")

    assert generate.main(["--check"]) == 2
    assert "pip install grpcio-tools==0.0.1" in capsys.readouterr().err


def test_a_golden_reason_request_still_parses():
    request = reasoner_pb2.ReasonRequest.FromString((GOLDEN / "reason_request.binpb").read_bytes())

    assert request == reasoner_pb2.ReasonRequest(
        request_id="golden",
        messages=[budget_pb2.ChatMessage(role="user", content="Reach 24 with 3, 5, 6 and 8.")],
        model="reference",
        thinking_budget=-1,
        tier=budget_pb2.TIER_COMPLEX,
        max_tier=budget_pb2.TIER_RESEARCH,
        coverage=0.9,
        max_answer_tokens=64,
        sampling=budget_pb2.Sampling(temperature=0.6, top_p=0.95, seed=2**64 - 1),
        include_thinking=True,
    )


def test_a_golden_think_request_still_parses():
    request = worker_pb2.ThinkRequest.FromString((GOLDEN / "think_request.binpb").read_bytes())

    assert request == worker_pb2.ThinkRequest(
        request_id="golden",
        segment=1,
        model="reference",
        prompt="Reach 24 with 3, 5, 6 and 8.",
        thinking_prefix_ids=[1, 300, 4_000_000_000],
        thinking_budget=2000,
        max_answer_tokens=64,
        sampling=budget_pb2.Sampling(seed=7),
        answer_on_exhaustion=True,
        settlement=worker_pb2.Settlement(
            tenant="tenant-1",
            tier=budget_pb2.TIER_COMPLEX,
            pool=budget_pb2.POOL_THINKING,
            rule=reasoner_pb2.RULE_AUTOMATIC,
            predicted_bin=6,
            prior_hazards=[0.25, 0.5],
            propensity=0.99,
            classifier_version="v1",
            features=[5, 6],
            store_prompt=True,
            prior_usage=budget_pb2.Usage(thinking_tokens=3, peak_kv_bytes=1 << 40),
        ),
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_enums_begin_unspecified_and_rpcs_own_their_messages(file: FileDescriptor):
    for enum in file.enum_types_by_name.values():
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")
    for service in file.services_by_name.values():
        replies = [method.output_type.name for method in service.methods]
        assert len(set(replies)) == len(replies)


def test_optional_fields_know_whether_they_were_set():
    assert not reasoner_pb2.ReasonRequest().HasField("thinking_budget")
    assert reasoner_pb2.ReasonRequest(thinking_budget=0).HasField("thinking_budget")
