"""What is better passes, and everything else is refused by the check that is there for it."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from classifier.bench.simulated_logs import Logging, simulate_logs
from classifier.columns import Outcome
from classifier.dataset import Dataset
from classifier.errors import ClassifierError
from classifier.export import export
from classifier.gate.contest import GateOptions
from classifier.gate.judge import judge
from classifier.gate.report import GateReport
from classifier.gate.rows import LoggedRows
from classifier.hazards import fit
from classifier.lexical import LEXICAL_NAMES
from ponder.v1.budget_pb2 import THINKING_STOP_EXHAUSTED
from tests.classifier.gate.conftest import MODEL, REGULARISATION
from tests.classifier.oracle import MAX_BUDGET
from tests.classifier.test_predictor import Change, resealed

NAMES = (
    "file",
    "held-out rows",
    "parity",
    "ranking",
    "controls",
    "sharpness",
    "coverage",
    "calibration",
    "latency",
    "value",
    "out of domain",
)


def options(**changes: Any) -> GateOptions:
    """A clock that gives every call the same time: how fast this machine is must not decide."""
    ticks = itertools.count(step=1000)
    fixed: dict[str, Any] = {
        "min_rows": 1_000,
        "latest_share": 1.0,
        "processor_time_ns": lambda: next(ticks),
    }
    return GateOptions(**fixed | changes)


def verdict(candidate: Path, champion: Path, logs: LoggedRows, **changes) -> GateReport:
    return judge(candidate, champion, logs, model=MODEL, options=options(**changes))


def refused(report: GateReport) -> set[str]:
    assert all(check.remedy for check in report.refusals)
    return {check.name for check in report.refusals}


def halved(outcome: Outcome) -> Outcome:
    """The mistake of counting only every other token."""
    stop = outcome.stop
    tokens = outcome.thinking_tokens // 2
    if stop == THINKING_STOP_EXHAUSTED:
        tokens = MAX_BUDGET
    return replace(outcome, thinking_tokens=tokens)


def test_better_candidate_passes(better, champion, logs):
    report = verdict(better, champion, logs)

    assert tuple(check.name for check in report.checks) == NAMES
    assert report.passed, report.to_markdown()
    figures = {name: report.check(name).figures for name in ("ranking", "sharpness")}
    assert figures["ranking"]["difference"] > 0.0
    assert figures["sharpness"]["high"] < 0.0
    assert GateReport.from_json(report.to_json()).passed


def test_the_better_one_against_itself_passes(better, logs):
    report = verdict(better, better, logs)

    assert report.passed, report.to_markdown()
    assert report.check("value").figures["difference"] == 0.0


def test_worse_candidate_is_refused_where_it_is_worse(better, champion, logs):
    assert {"sharpness"} <= refused(verdict(champion, better, logs))


def test_shuffled_labels_are_refused(oracle, champion, logs, save):
    shuffled = fit(oracle.training.with_outcomes_shuffled(1), regularisation=REGULARISATION)

    found = refused(verdict(save(shuffled, "shuffled"), champion, logs))

    assert {"ranking", "sharpness", "value"} <= found


def test_one_curve_for_all_is_refused(oracle, champion, logs, save):
    nothing = np.array([], dtype=np.int64)
    constant = fit(oracle.training, regularisation=REGULARISATION, columns=nothing)

    assert {"ranking", "sharpness"} <= refused(verdict(save(constant, "constant"), champion, logs))


def test_needs_half_the_truth_are_refused_though_they_rank_as_well(oracle, champion, logs, save):
    data = Dataset.of(map(halved, oracle.outcomes))
    model = fit(data.split("train"), regularisation=REGULARISATION)

    found = refused(verdict(save(model, "halved"), champion, logs))

    assert {"coverage", "calibration"} <= found
    assert "ranking" not in found


def test_a_hundred_rows_are_not_enough_to_learn_from(oracle, champion, logs, save):
    few = fit(oracle.training.rows(np.arange(100)), regularisation=REGULARISATION)

    assert {"ranking", "sharpness"} <= refused(verdict(save(few, "few"), champion, logs))


def test_corrupt_file_is_refused_and_nothing_else_is_judged(better, champion, logs, tmp_path):
    broken = bytearray(better.read_bytes())
    broken[len(broken) // 2] ^= 1
    path = tmp_path / "broken.onnx"
    path.write_bytes(bytes(broken))

    report = verdict(path, champion, logs)

    assert refused(report) == {"file"}
    assert "do not match its version" in report.check("file").remedy
    assert {check.verdict for check in report.checks[2:]} == {"not judged"}
    assert not report.passed


def replaced(name: str, old: float, new: float) -> Change:
    """Every number `old` of an initializer by another."""

    def change(proto: onnx.ModelProto) -> None:
        tensor = next(item for item in proto.graph.initializer if item.name == name)
        values = numpy_helper.to_array(tensor).copy()
        assert np.isclose(values, old).any()
        values[np.isclose(values, old)] = new
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    return change


def other_survival(proto: onnx.ModelProto) -> None:
    next(node for node in proto.graph.node if node.op_type == "Softplus").op_type = "Relu"


@pytest.mark.parametrize(
    "change", [replaced("allowed", 0.1, 0.3), other_survival], ids=["tier", "survival"]
)
def test_outputs_that_do_not_follow_from_the_hazards_are_refused(
    change, better, champion, logs, tmp_path
):
    path = tmp_path / "changed.onnx"
    path.write_bytes(resealed(better.read_bytes(), change))

    assert refused(verdict(path, champion, logs)) == {"parity"}


def no_number_for_three_commas(proto: onnx.ModelProto) -> None:
    """0 / 0 in the scaling of one feature, where its value is just this."""
    column = LEXICAL_NAMES.index("log_commas")
    for name, value in (("center", round(math.log(4) * 1024) / 1024), ("spread", 0.0)):
        tensor = next(item for item in proto.graph.initializer if item.name == name)
        values = numpy_helper.to_array(tensor).copy()
        values[column] = value
        tensor.CopyFrom(numpy_helper.from_array(values, name))


def test_prediction_that_is_no_number_is_refused_though_the_file_loads(
    better, champion, logs, tmp_path
):
    path = tmp_path / "changed.onnx"
    path.write_bytes(resealed(better.read_bytes(), no_number_for_three_commas))

    report = verdict(path, champion, logs)

    assert refused(report) == {"parity"}
    assert "no probability" in report.check("parity").remedy
    with pytest.raises(ClassifierError, match="no probability"):
        verdict(better, path, logs)


def test_file_for_another_model_is_refused(oracle, champion, champion_model, logs, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(export(champion_model, "another", 1))

    assert refused(verdict(path, champion, logs)) == {"file"}
    with pytest.raises(ClassifierError, match="not of oracle"):
        verdict(champion, path, logs)


def test_too_few_rows_are_refused_with_their_number(better, champion, logs):
    report = verdict(better, champion, logs, min_rows=5_000)

    assert refused(report) == {"held-out rows"}
    assert f"only {report.num_rows} of {len(logs)}" in report.check("held-out rows").remedy


def test_rows_that_judge_are_late_and_of_split_test(logs):
    held_out = logs.held_out(0.25)

    assert set(held_out.data.splits) == {"test"}
    assert held_out.finished_at_s.min() >= 0.75 * len(logs) - 1
    assert not set(held_out.prompts) & set(logs.background().prompts)


def test_slower_candidate_is_refused_by_its_latency_alone(better, champion, logs):
    """On a clock by which the candidate, timed first and second in turn, takes 0.2 ms more."""
    began = itertools.count()
    now_ns = 0

    def clock() -> int:
        nonlocal now_ns
        call, is_end = divmod(next(began), 2)
        is_candidate = call % 4 in (0, 3)
        now_ns += is_end * (300_000 if is_candidate else 100_000)
        return now_ns

    report = verdict(better, champion, logs, processor_time_ns=clock)

    assert refused(report) == {"latency"}
    assert report.check("latency").figures["candidate_ms"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("decided", "logging", "reason"),
    [
        (0, Logging(exploration=0.0, goes_on=0.0), "can never tell"),
        # Of the largest tier only one request in 20 tells.
        (1, Logging(exploration=0.05, goes_on=0.0), "effective rows"),
    ],
)
def test_decisions_the_logs_hardly_tell_of_are_not_enough_evidence(
    oracle, better, champion, decided, logging, reason
):
    tiers = np.full(len(oracle.outcomes), decided)
    logs = LoggedRows.of(simulate_logs(oracle.outcomes, tiers, logging, seed=0))

    check = verdict(better, champion, logs).check("value")

    assert check.verdict == "refused"
    assert "not enough evidence" in check.remedy
    assert reason in check.remedy
    assert "ROUTER_EXPLORATION" in check.remedy


def test_strange_prompts_alone_can_refuse(better, champion, logs):
    """Of the foreign requests half need nothing, half the most: unlike what any prompt says."""
    foreign = logs.held_out(1.0)
    order = np.argsort(foreign.data.thinking_tokens)
    opposite = foreign.data.rows(order[::-1])
    turned = replace(
        foreign,
        data=replace(opposite, features=foreign.data.features[order]),
    )

    report = judge(better, champion, logs, model=MODEL, foreign=turned, options=options())

    assert refused(report) == {"out of domain"}


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="min_rows"):
        GateOptions(min_rows=999)
    with pytest.raises(ValueError, match="latest_share"):
        GateOptions(latest_share=0.0)
    with pytest.raises(ValueError, match="budgets"):
        GateOptions(budgets=(50, 50, 2000, 10_000))
