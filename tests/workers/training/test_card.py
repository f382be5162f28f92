import json
from dataclasses import asdict

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import Qwen3ForCausalLM

from tests.workers.hand_made import evaluation
from workers.training import card
from workers.training.export import export_model, model_config
from workers.training.targets import targets
from workers.training.train import TrainConfig
from workers.training.vocabulary import build_tokenizer


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    torch.manual_seed(1)
    recipe = {
        **asdict(TrainConfig(tokens=768_000)),
        "steps_done": 100,
        "seconds": 600.0,
    }
    export_model(Qwen3ForCausalLM(model_config(tokenizer)), tokenizer, directory, recipe)
    return directory


@pytest.fixture(scope="module")
def text(model_dir):
    evaluation().write(model_dir / "evaluation.json")
    arguments = ["--model", str(model_dir), "--evaluation", str(model_dir / "evaluation.json")]
    card.main([*arguments, "--trained-on", "two old cores"])
    return (model_dir / "README.md").read_text()


def test_the_card_holds_every_figure_with_its_interval(text):
    for family in evaluation().families.values():
        for estimates in (family.accuracy, family.oracle, family.gains, family.oracle_gaps):
            assert all(str(estimate) in text for estimate in estimates.values())
        assert all(str(estimate) in text for estimate in family.figures.values())


def test_every_target_is_judged_and_every_missed_one_is_a_known_weakness(text):
    _, _, weaknesses = text.partition("## Known weaknesses")

    for target in targets():
        verdict = target.judge(evaluation())
        assert f"| {target.name} | {target.goal} | {verdict.measured} |" in text
        assert (f"{target.name}: {verdict.measured}" in weaknesses) is not verdict.is_met


def test_the_hand_made_evaluation_meets_some_targets_and_misses_some():
    assert {target.judge(evaluation()).is_met for target in targets()} == {True, False}


def test_the_head_is_the_metadata_that_model_hubs_read(text):
    metadata = ModelCard(text).data.to_dict()

    assert metadata["license"] == "apache-2.0"
    assert metadata["library_name"] == "transformers"


def test_size_and_compute_are_those_of_the_model(text, model_dir):
    parameters = sum(p.numel() for p in Qwen3ForCausalLM.from_pretrained(model_dir).parameters())
    tokens = 100 * 24 * 320

    assert f"| Parameters | {parameters:,} |" in text
    assert f"| Tokens | {tokens:,}, of 768,000 planned |" in text
    assert f"{6 * parameters * tokens:.1e} FLOP" in text
    assert "| Machine | two old cores |" in text
    assert json.loads((model_dir / "training.json").read_text())["seconds"] == 600


def test_no_placeholder_is_left_in_the_prose(text):
    prose = text.replace('{"role": "user", "content": ', "").replace('once."}]', "")

    assert "{" not in prose
    assert "}" not in prose
