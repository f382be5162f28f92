import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from workers.training.train import TrainConfig, Trainer


def tiny_run(steps: int) -> TrainConfig:
    return TrainConfig(tokens=steps * 2 * 48, rows=2, window=48, warmup_steps=2)


def finish(trainer: Trainer) -> None:
    trainer.run(checkpoint_every_s=1e9, report_every=1000)


class Interrupted(Exception):
    pass


def interrupt_after(trainer: Trainer, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = trainer._train_step
    remaining = iter(range(steps))

    def train_step() -> float:
        if next(remaining, None) is None:
            trainer._save_checkpoint()
            raise Interrupted
        return step()

    monkeypatch.setattr(trainer, "_train_step", train_step)
    with pytest.raises(Interrupted):
        finish(trainer)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, monkeypatch):
    config = tiny_run(4)
    finish(Trainer(config, tmp_path / "whole"))

    interrupt_after(Trainer(config, tmp_path / "resumed"), 2, monkeypatch)
    finish(Trainer(config, tmp_path / "resumed"))

    whole, resumed = (weights(tmp_path / name) for name in ("whole", "resumed"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = torch.load(run_dir / "checkpoint.pt", weights_only=True)[
        "model"
    ]
    return model


def test_a_run_is_not_resumed_with_other_settings(tmp_path):
    finish(Trainer(tiny_run(1), tmp_path))

    with pytest.raises(SystemExit, match="other settings"):
        Trainer(tiny_run(2), tmp_path)


def test_transformers_loads_the_exported_directory_unchanged(tmp_path):
    finish(Trainer(tiny_run(1), tmp_path))

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    question = [{"role": "user", "content": "What is 3 + 4?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)

    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
    assert prompt == "<bos>What is 3 + 4?<think>"
    assert model(ids).logits.shape == (1, ids.shape[1], tokenizer.vocab_size)
    assert json.loads((tmp_path / "model" / "training.json").read_text())["steps_done"] == 1
