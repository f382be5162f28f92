"""The benchmarks' quick runs: real stacks with the shipped model and classifier."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.e2e
PONDER = (sys.executable, "-c", "from ponder.cli import main; main()")
TIMEOUT_S = 180


def quick(name: str, *options: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """What `ponder bench NAME --quick --json -` prints, and nothing else may be on stdout."""
    done = subprocess.run(
        [*PONDER, "bench", name, "--quick", "--json", "-", *options],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_problems_are_answered_and_the_books_agree():
    report = quick("problems")

    assert report["name"] == "problems"
    assert report["figures"]["problems"] == report["controls"]["ledger_requests"] == 12
    assert report["figures"]["ledger_difference"] == 0
    assert report["figures"]["right"] > 6


def test_plan_is_measured_beside_its_control():
    report = quick("plan")

    assert report["figures"]["calls"] == 200
    assert 0 < report["figures"]["plan_p50_ms"] <= report["figures"]["plan_p99_ms"]
    assert report["controls"]["health_p50_ms"] > 0
    assert report["device"]
    assert report["commit"]


def test_online_learning_is_measured_beside_what_learns_less():
    report = quick("online")

    figures, controls = report["figures"], report["controls"]
    assert figures["coverage_501_1000"] > controls["nothing_coverage_501_1000"] + 0.03
    assert figures["poison_worst_budget_tokens"] > figures["poison_none_budget_tokens"] > 0
    assert figures["poison_others_moved_tokens"] == 0


def test_cycle_goes_through_all_phases_and_refuses_the_worse():
    # It trains three times and runs two dozen commands, which a busy machine makes wait.
    figures = quick("cycle", timeout_s=900)["figures"]

    assert figures["failed"] == figures["degraded"] == figures["rollbacks"] == 0
    assert figures["worse_promotions_refused"] == 2
    assert figures["shifted, later/requests"] == 30
    assert figures["shifted, pairs: old/requests"] == figures["pairs"] == 4
    assert figures["shifted, new champion/requests"] == 6
    # Too few for the gate to judge by, which it must say: the new one is forced.
    assert figures["forced"] == 1
    assert figures["traces_repeated"] > 1


def test_blocking_asks_real_processes_and_the_same_as_one_queue():
    # Four workers start, which a busy machine makes wait.
    report = quick("blocking", "--only", "processes", timeout_s=600)

    figures, controls = report["figures"], report["controls"]
    num_asked = figures["processes_easy"] + figures["processes_hard"]
    for subject in (figures, {name.replace("one_queue_", ""): controls[name] for name in controls}):
        assert subject["processes_easy"] + subject["processes_hard"] == num_asked > 0
        assert subject["processes_failed"] == 0
        assert subject["processes_easy_p99_slowdown"] > 0
    # Nothing but the load cuts or refuses: the one queue does neither.
    assert controls["processes_one_queue_refused"] == controls["processes_one_queue_cut"] == 0
    assert controls["processes_capacity_tokens_per_s"] > 0
    assert not any(name.startswith("real") for name in controls)
