from pathlib import Path

import pytest
import torch

import workers
from workers.bench.early_exit_figures import Record, SubjectFigures, subject_figures
from workers.bench.early_exit_rules import (
    LINES,
    Control,
    EntropyVariance,
    FixedGap,
    Setting,
    model_rules,
    published_controls,
)
from workers.bench.early_exit_run import Bench, Plan, choose
from workers.bench.early_exit_speed import Saturation
from workers.early_exit import EarlyExit, ExitRules
from workers.early_exit.rules import FILE_NAME
from workers.early_exit.trial import TrialOutcome
from workers.engine import ThinkingStop
from workers.rollouts import run_requests
from workers.tokenizer import Tokenizer

REFERENCE = Path(workers.__file__).parent / "reference"


@pytest.fixture(scope="module")
def bench() -> Bench:
    torch.set_num_threads(1)
    return Bench(REFERENCE, Plan(budget_tokens=400))


def outcome(entropy: float = 0.0, at: int = 0) -> TrialOutcome:
    return TrialOutcome(thinking_tokens=at, entropy=entropy)


def first_enough(judge: EntropyVariance, entropies: list[float]) -> int | None:
    return next((i for i, e in enumerate(entropies) if judge.is_enough(outcome(e))), None)


def test_entropy_that_rests_is_enough_after_the_warm_up():
    assert first_enough(EntropyVariance(0.4, 2**-10), [0.3] * 20) == 10


def test_entropy_that_moves_is_not_enough():
    assert first_enough(EntropyVariance(0.4, 2**-10), [0.0, 1.0] * 20) is None


def test_a_fixed_gap_does_not_heed_what_a_trial_said():
    cadence = FixedGap(ExitRules(min_gap_tokens=64))

    assert not cadence.is_due(63)
    assert cadence.is_due(64)
    cadence.record(TrialOutcome(thinking_tokens=64, entropy=0.0, confidence=1.0, answer_ids=(1,)))
    assert not cadence.is_due(127)
    assert cadence.is_due(128)


def test_a_model_without_rules_is_measured_with_defaults_and_it_says_so(tmp_path):
    rules, origin = model_rules(tmp_path)

    assert rules == LINES
    assert FILE_NAME in origin
    assert origin.startswith("defaults")


def test_every_control_has_its_published_settings():
    controls = published_controls(LINES, Tokenizer(REFERENCE))

    labels = {control.name: [s.label for s in control.settings] for control in controls}

    assert labels["dynasor"] == labels["answer convergence"] == ["k=2", "k=3", "k=5"]
    assert "confidence>0.95" in labels["deer"]
    assert "alpha=0.1, delta=2^-10" in labels["entropy"]


def records_of(bench: Bench, name: str, label: str) -> list[Record]:
    control = next(c for c in bench.controls if c.name == name)
    setting = next(s for s in control.settings if s.label == label)
    return bench.records(bench.questions("validation", 16), setting.controller)


def test_a_rule_that_answers_anew_pays_for_its_trials_in_full(bench):
    exits = [r for r in records_of(bench, "deer", "confidence>0.95") if r.exited]

    assert exits
    # </think> and two answer tokens at least were computed for the trial that was not kept.
    assert all(record.probe_tokens >= 3 for record in exits)


def test_dynasor_exits_only_where_its_trials_were(bench):
    exits = [r for r in records_of(bench, "dynasor", "k=2") if r.exited]

    assert exits
    assert all(r.thinking_tokens % 64 == 0 and r.thinking_tokens > 64 for r in exits)


def test_saturation_ends_when_nothing_waits(bench):
    requests = bench.requests(bench.questions("test", 6))
    work = Saturation(bench.engine(None, max_running=4), requests)

    while work.is_full:
        work.step()

    assert work.finished >= 2
    assert work.cpu_s > 0


def test_a_saturated_engine_still_stops_early(bench):
    requests = bench.requests(bench.questions("test", 12))
    engine = bench.engine(bench.ponder, max_running=4)

    done = run_requests(engine, requests, len(requests))

    stops = {rollout.finished.stop for rollout in done if rollout.finished}
    assert ThinkingStop.CONFIDENT in stops


def figures(change_points: float, net_tokens: int) -> SubjectFigures:
    """Of 200 questions, each 1000 tokens without exits."""
    lost = round(-change_points * 2)
    base = [one_record(1000, is_right=True) for _ in range(200)]
    records = [one_record(1000 - net_tokens, is_right=i >= lost) for i in range(200)]
    return subject_figures("x", records, base)


def one_record(thinking_tokens: int, *, is_right: bool) -> Record:
    return Record(
        thinking_ids=(),
        answer_ids=(),
        thinking_tokens=thinking_tokens,
        probe_tokens=0,
        forced_tokens=0,
        budget_tokens=10_000,
        stop=ThinkingStop.CONFIDENT,
        is_right=is_right,
        is_empty=False,
    )


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        ([(-0.5, 300), (0.0, 200), (-1.0, 500)], 0),  # most saved of those that lose little
        ([(-3.0, 300), (-1.0, 200), (-2.0, 500)], 1),  # none does: the least lost
    ],
)
def test_a_control_gets_its_best_setting(outcomes, chosen):
    controller = EarlyExit(LINES, step_end_ids=frozenset())
    settings = tuple(Setting(label=str(i), controller=controller) for i in range(len(outcomes)))
    measured = [figures(*outcome) for outcome in outcomes]

    setting, _ = choose(Control(name="x", settings=settings), measured)

    assert setting.label == str(chosen)
