"""What the model card says about a model's size and training, read from the model's own files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

_CARD = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Size and training record of one Hugging Face directory; the card itself is not counted."""

    parameters: int
    architecture: str
    shape: str
    vocabulary: int
    positions: int
    window: int  # tokens each layer sees
    total_bytes: int
    largest_bytes: int
    recipe: dict[str, Any]  # training.json


def read_facts(directory: Path) -> ModelFacts:
    """Read a directory that workers.training.export wrote."""
    config = json.loads((directory / "config.json").read_text())
    sizes = [path.stat().st_size for path in directory.iterdir() if path.name != _CARD]
    return ModelFacts(
        parameters=_count_parameters(directory / "model.safetensors"),
        architecture=config["architectures"][0],
        shape=(
            f"{config['num_hidden_layers']} layers of width {config['hidden_size']}, "
            f"{config['num_attention_heads']} heads over {config['num_key_value_heads']}"
        ),
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        window=config["sliding_window"],
        total_bytes=sum(sizes),
        largest_bytes=max(sizes),
        recipe=json.loads((directory / "training.json").read_text()),
    )


def _count_parameters(weights: Path) -> int:
    with safe_open(weights, framework="numpy") as tensors:
        names = tensors.keys()
        return sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
