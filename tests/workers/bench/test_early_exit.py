import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from ponder.cli.main import main
from workers.bench.early_exit_figures import (
    BASELINE,
    PONDER,
    Record,
    counted,
    matched_budget,
    named_estimates,
    subject_figures,
)
from workers.bench.early_exit_speed import Served, latency_figures
from workers.engine import ThinkingStop

FIGURES = {
    "gross_saved",
    "gross_saved_easy",
    "net_saved",
    "probe_overhead",
    "accuracy_change_points",
    "throughput_ratio",
    "overshoots",
    "empty_answers",
    "changed_without_exit",
}
CONTROLS = ("fixed_cut", "matched_cut", "answer_convergence", "entropy", "deer", "dynasor")

PLAIN = Record(
    thinking_ids=(5, 6),
    answer_ids=(7,),
    thinking_tokens=1000,
    probe_tokens=0,
    forced_tokens=0,
    budget_tokens=10_000,
    stop=ThinkingStop.FINISHED,
    is_right=True,
    is_empty=False,
)


def thought(tokens: int, **changes) -> Record:
    return replace(PLAIN, thinking_tokens=tokens, **changes)


def exited(tokens: int, probe: int = 0, forced: int = 1, **changes) -> Record:
    spent = {"probe_tokens": probe, "forced_tokens": forced, "stop": ThinkingStop.CONFIDENT}
    return thought(tokens, **{"answer_ids": (8,), **spent, **changes})


BASE = [thought(1000), thought(500), thought(100, is_right=False), thought(400)]


def test_savings_are_shares_of_all_thinking_without_exits():
    records = [exited(600, probe=40), exited(300, probe=9), thought(100, is_right=False), BASE[3]]

    savings = subject_figures("x", records, BASE).savings

    assert savings.gross.value == pytest.approx(600 / 2000)
    assert savings.probe.value == pytest.approx(49 / 2000)
    assert savings.forced.value == pytest.approx(2 / 2000)
    assert savings.net.value == pytest.approx((600 - 49 - 2) / 2000)
    assert savings.net.low < savings.net.value < savings.net.high


def test_the_easy_slice_is_what_needs_little_thinking_without_exits():
    records = [exited(100), exited(300), exited(40, is_right=True), BASE[3]]

    figures = subject_figures("x", records, BASE)

    assert figures.easy_problems == 3
    assert figures.easy.gross.value == pytest.approx((200 + 60) / 1000)
    assert figures.easy_accuracy_change.value == pytest.approx(100 / 3)


def test_accuracy_is_compared_question_by_question():
    lost_and_won = [
        exited(100, is_right=False),
        exited(100),
        exited(50, is_right=True),
        exited(100, is_right=False),
    ]

    figures = subject_figures("x", lost_and_won, BASE)

    assert figures.accuracy.value == 0.5
    assert figures.accuracy_change.value == pytest.approx(-25.0)
    # Nothing that is the same in both adds to the interval.
    assert subject_figures("x", BASE, BASE).accuracy_change.low == 0


def test_what_must_not_happen_is_counted_over_all_subjects():
    by_count = exited(200, budget_tokens=199)
    by_tokens = exited(1, budget_tokens=1)
    subjects = {
        BASELINE: subject_figures(BASELINE, BASE[:2], BASE[:2]),
        PONDER: subject_figures(PONDER, [by_count, by_tokens], BASE[:2]),
        "other": subject_figures("other", [exited(9, is_empty=True), BASE[1]], BASE[:2]),
    }

    figures = counted(subjects)

    assert figures["overshoots"] == 2
    assert figures["empty_answers"] == 1
    assert figures["exits"] == 2  # ponder's
    assert figures["changed_without_exit"] == 0


def test_other_tokens_without_an_exit_are_a_change():
    changed = thought(500, answer_ids=(9,))
    cut = thought(300, answer_ids=(9,), budget_tokens=300, stop=ThinkingStop.EXHAUSTED)
    cut_alike = replace(changed, stop=ThinkingStop.EXHAUSTED)

    records = [exited(600), changed, cut, cut_alike]

    assert subject_figures("x", records, BASE).changed == 2


def test_figures_of_the_rules_of_others_bear_their_names():
    subjects = {name: subject_figures(name, BASE, BASE) for name in (BASELINE, PONDER, "fixed cut")}

    names = dict(named_estimates(subjects))

    assert {"net_saved", "net_saved_fixed_cut", "accuracy_change_points_fixed_cut"} <= set(names)
    assert "net_saved_ponder" not in names


@pytest.mark.parametrize("mean_tokens", [50, 100, 333, 499, 500])
def test_a_matched_budget_thinks_as_much_in_all(mean_tokens):
    budget = matched_budget(BASE, mean_tokens)

    cut = [min(record.thinking_tokens, budget) for record in BASE]
    assert mean_tokens <= sum(cut) / len(cut) < mean_tokens + 1


def test_latency_is_set_against_the_saving_of_the_same_requests():
    base = [Served(cpu_s=s, wall_s=2 * s, record=thought(int(1000 * s))) for s in (1, 2, 6)]
    ponder = [
        Served(cpu_s=s, wall_s=2 * s, record=exited(tokens, probe=99))
        for s, tokens in ((1, 900), (1.2, 900), (2, 1400))
    ]

    latency = latency_figures({BASELINE: base, PONDER: ponder})

    net_saved = 1 - (3200 + 300) / 9000
    assert latency.net_saved == pytest.approx(net_saved)
    assert latency.p50_reduction == latency.wall_p50_reduction == pytest.approx(0.4)
    assert latency.figures["latency_over_saving"] == pytest.approx(0.4 / net_saved)
    mean_reduction = 1 - 4.2 / 9
    assert latency.controls["latency_over_saving_mean"] == pytest.approx(mean_reduction / net_saved)
    median_over_median = 0.4 / (1 - 1000 / 2000)
    assert latency.controls["latency_over_saving_median"] == pytest.approx(median_over_median)


def test_a_quick_run_measures_every_subject(tmp_path):
    json_path, plot_path = tmp_path / "figures.json", tmp_path / "early_exit.svg"
    arguments = ["--quick", "--json", str(json_path), "--plot", str(plot_path)]

    result = CliRunner().invoke(main, ["bench", "early-exit", *arguments])

    assert result.exit_code == 0, result.output
    report = json.loads(json_path.read_text())
    figures = report["figures"]
    assert set(figures) >= FIGURES
    assert set(figures) >= {f"net_saved_{name}" for name in CONTROLS}
    assert set(report["intervals"]) >= {"net_saved", "accuracy_change_points", "net_saved_dynasor"}
    assert {"latency_p50_s_no_exit", "throughput_ratio_more_rows"} <= set(report["controls"])
    assert figures["overshoots"] == figures["empty_answers"] == figures["changed_without_exit"] == 0
    assert figures["exits"] > 0
    assert "answer convergence" in result.output
    assert ElementTree.parse(plot_path).getroot().tag.endswith("svg")


def test_a_run_of_too_few_questions_must_be_quick():
    result = CliRunner().invoke(main, ["bench", "early-exit", "--problems", "100"])

    assert result.exit_code != 0
    assert "500" in result.output


def test_a_directory_without_a_model_is_refused(tmp_path):
    result = CliRunner().invoke(main, ["bench", "early-exit", "--model", str(tmp_path)])

    assert result.exit_code != 0
    assert "--model" in result.output
