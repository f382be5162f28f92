"""Train the reference model on teacher traces.

    python -m workers.training.train --run-dir runs/reference [--tokens 60e6] [--threads 1]

Prints a line of loss, arithmetic, speed and ETA as it goes, saves a checkpoint every few minutes,
and goes on from the last one when called again. Ends by writing a Hugging Face directory.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen3Config, Qwen3ForCausalLM

from workers.training.batches import WindowSampler
from workers.training.export import export_model, model_config
from workers.training.vocabulary import build_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides the result of a run, given torch's version and thread count."""

    tokens: int = 36_000_000
    rows: int = 24
    window: int = 320
    learning_rate: float = 5e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    seed: int = 1

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.tokens // (self.rows * self.window)


class Trainer:
    """One training run in one directory: resumes by itself, checkpoints as it goes."""

    def __init__(self, config: TrainConfig, run_dir: Path) -> None:
        self._config = config
        self._run_dir = run_dir
        self._tokenizer = build_tokenizer()
        torch.manual_seed(config.seed)
        self._model = build_model(model_config(self._tokenizer))
        self._optimizers = build_optimizers(self._model, config)
        self._sampler = WindowSampler(
            self._tokenizer, rows=config.rows, window=config.window, seed=config.seed
        )
        self._step = 0
        self._seconds = 0.0
        self._load_checkpoint()

    def run(self, *, checkpoint_every_s: float, report_every: int) -> None:
        """Train to the end, then export."""
        started = saved = time.monotonic()
        first_step, before = self._step, self._seconds
        while self._step < self._config.steps:
            loss = self._train_step()
            self._step += 1
            now = time.monotonic()
            self._seconds = before + now - started
            if self._step % report_every == 0:
                self._report(loss, (now - started) / (self._step - first_step))
            if now - saved > checkpoint_every_s:
                self._save_checkpoint()
                saved = now
        self._save_checkpoint()
        self.export(self._run_dir / "model")

    def export(self, directory: Path) -> None:
        """Write the model as a Hugging Face directory together with how it was made."""
        recipe = {**asdict(self._config), "steps_done": self._step, "seconds": self._seconds}
        export_model(self._model, self._tokenizer, directory, recipe)

    def _train_step(self) -> float:
        inputs, targets = self._sampler.batch(self._step, self._step / self._config.steps)
        logits = self._model(input_ids=inputs, use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.clip_norm)
        learning_rate = self._learning_rate()
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _learning_rate(self) -> float:
        """Warm up, then fall to zero."""
        warmup = min(1.0, (self._step + 1) / self._config.warmup_steps)
        return self._config.learning_rate * warmup * (1 - self._step / self._config.steps)

    def _report(self, loss: float, seconds_per_step: float) -> None:
        per_step = self._config.rows * self._config.window
        eta_s = (self._config.steps - self._step) * seconds_per_step
        print(
            f"step {self._step}/{self._config.steps}  "
            f"{self._step * per_step / 1e6:.1f}M tokens  loss {loss:.4f}  "
            f"{per_step / seconds_per_step:,.0f} tokens/s  ETA {eta_s / 60:.0f} min",
            flush=True,
        )

    @property
    def _checkpoint(self) -> Path:
        return self._run_dir / "checkpoint.pt"

    def _save_checkpoint(self) -> None:
        self._run_dir.mkdir(parents=True, exist_ok=True)
        state = {
            "config": asdict(self._config),
            "step": self._step,
            "seconds": self._seconds,
            "model": self._model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def _load_checkpoint(self) -> None:
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, weights_only=True)
        if state["config"] != asdict(self._config):
            raise SystemExit(
                f"{self._checkpoint} belongs to a run with other settings "
                f"({json.dumps(state['config'])}): use those, or another --run-dir"
            )
        self._model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._step, self._seconds = state["step"], state["seconds"]
        print(f"resumed at step {self._step}", flush=True)


def build_model(config: Qwen3Config) -> Qwen3ForCausalLM:
    """Build a model with fresh weights."""
    model = Qwen3ForCausalLM(config)
    model.train()
    return model


def build_optimizers(
    model: Qwen3ForCausalLM, config: TrainConfig
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms (Jordan et al. 2024)."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_hidden_matrix = parameter.ndim == 2 and "embed" not in name
        (matrices if is_hidden_matrix else others).append(parameter)
    muon = torch.optim.Muon(
        matrices,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(others, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    return muon, adamw


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train."""
    defaults = TrainConfig()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run-dir", type=Path, required=True, help="checkpoints and result")
    parser.add_argument("--tokens", type=float, default=defaults.tokens, help="length of the run")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--checkpoint-every", type=float, default=180, help="seconds")
    parser.add_argument("--report-every", type=int, default=50, help="steps")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="write the last checkpoint as a model, and stop"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    config = TrainConfig(tokens=int(options.tokens), seed=options.seed)
    trainer = Trainer(config, options.run_dir)
    if options.export:
        trainer.export(options.export)
        return
    trainer.run(checkpoint_every_s=options.checkpoint_every, report_every=options.report_every)


if __name__ == "__main__":
    main()
