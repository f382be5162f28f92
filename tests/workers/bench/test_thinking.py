import json

import pytest
import torch
from click.testing import CliRunner
from transformers import Qwen3ForCausalLM

from ponder.cli.main import main
from tests.workers.hand_made import evaluation
from workers.bench.thinking import bench_report
from workers.training.export import export_model, model_config
from workers.training.vocabulary import build_tokenizer

FIGURES = {
    "accuracy_50",
    "accuracy_500",
    "accuracy_2000",
    "accuracy_10000",
    "accuracy_500_minus_50",
    "accuracy_2000_minus_500",
    "oracle_gap_points",
    "step_accuracy",
    "false_hits",
    "answer_auroc",
    "answer_ece",
    "well_formed_when_cut",
    "overthinking_share",
}


@pytest.fixture(scope="module")
def random_model_dir(tmp_path_factory):
    """Untrained: it ends its thinking by chance, after some hundred tokens."""
    directory = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    torch.manual_seed(2)
    config = model_config(tokenizer)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 1, 16, 16
    config.layer_types = ["sliding_attention"]
    export_model(Qwen3ForCausalLM(config), tokenizer, directory, {})
    return directory


def test_the_figures_have_their_names_and_intervals():
    report = bench_report(evaluation())

    assert set(report.figures) == set(report.intervals) == FIGURES
    assert set(report.controls) == {"oracle_50", "oracle_500", "oracle_2000", "oracle_10000"}


def test_the_oracle_gap_is_the_largest_in_points():
    mix = evaluation().mix

    gap = bench_report(evaluation()).figures["oracle_gap_points"]

    tiers = (50, 500, 2000, 10_000)
    expected = max(mix.oracle[b].value - mix.accuracy[b].value for b in tiers)
    assert gap == pytest.approx(100 * expected)


def test_an_earlier_evaluation_is_shown_and_drawn_without_measuring(tmp_path):
    evaluation().write(tmp_path / "evaluation.json")
    arguments = ["--evaluation", str(tmp_path / "evaluation.json"), "--plot", str(tmp_path)]

    result = CliRunner().invoke(main, ["bench", "thinking", *arguments])

    assert result.exit_code == 0, result.output
    assert f"{evaluation().mix.accuracy[500].value:.3f}" in result.output
    assert (tmp_path / "thinking.svg").exists()


def test_a_real_model_is_measured(random_model_dir, tmp_path):
    arguments = ["--model", str(random_model_dir), "--problems", "2"]
    figures = tmp_path / "figures.json"

    result = CliRunner().invoke(main, ["bench", "thinking", *arguments, "--json", str(figures)])

    assert result.exit_code == 0, result.output
    report = json.loads(figures.read_text())
    assert report["figures"]["accuracy_10000"] == 0  # it learned nothing
    assert report["controls"]["oracle_10000"] > 0.5  # the teacher's search did solve them
    assert report["figures"]["well_formed_when_cut"] == 0


def test_a_directory_without_a_model_is_refused(tmp_path):
    result = CliRunner().invoke(main, ["bench", "thinking", "--model", str(tmp_path)])

    assert result.exit_code != 0
    assert "--model" in result.output
