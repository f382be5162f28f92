"""`ponder calibrate` on a model in a directory of its own."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import workers
from workers.calibration.command import calibrate
from workers.early_exit import ExitRules

REFERENCE = Path(workers.__file__).parent / "reference"


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(REFERENCE, directory)
    (directory / "early_exit.json").unlink(missing_ok=True)
    return directory


def run(model, *options):
    arguments = ["--model", str(model), "--separator", "\n", "--budget", "400", *options]
    return CliRunner().invoke(calibrate, arguments)


def test_it_writes_rules_that_a_worker_loads(model, tmp_path):
    curve = tmp_path / "curve.svg"

    result = run(model, "--problems", "30", "--risk", "0.3", "--plot", str(curve), "--json", "-")

    assert result.exit_code == 0, result.output
    chosen = json.loads(result.stdout)["chosen"]
    rules = ExitRules.load(model)
    assert rules is not None
    assert rules.separators == ("\n",)
    assert rules.confidence == chosen["rules"]["confidence"]
    assert 0 < chosen["net_saved"] < chosen["gross_saved"]
    assert curve.read_text().startswith("<?xml")


def test_a_dry_run_writes_nothing_and_the_same_seed_says_the_same(model):
    outputs = [run(model, "--problems", "12", "--risk", "0.4", "--dry-run") for _ in range(2)]

    assert outputs[0].exit_code == 0, outputs[0].output
    assert outputs[0].stdout == outputs[1].stdout
    assert ExitRules.load(model) is None


def test_too_few_prompts_are_refused_with_the_number_that_is_needed(model):
    result = run(model, "--problems", "100", "--risk", "0.01")

    assert result.exit_code == 1
    assert "give at least 345" in result.output


def test_prompts_come_from_a_file(model, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "What is the capital of France?"}\n' * 12)

    result = run(model, "--prompts", str(path), "--risk", "0.4", "--dry-run")

    assert result.exit_code == 0, result.output
    assert "of 8" in result.stdout
