"""The models that `ponder bench decode` measures: the shipped one, and random ones by shape."""

import importlib.resources
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from workers.engine import SpecialTokens
from workers.engine.models.loader import load_spec

INIT_STD = 0.02
MARKER_IDS = 3
"""The last ids of a random model: their embedding is zero, so that no greedy step chooses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Qwen3 decoder."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int = 128
    vocab_size: int = 151_936
    tied: bool = True
    max_positions: int = 40_960

    def config(self) -> dict[str, object]:
        """config.json."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab_size,
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": self.max_positions,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1e6,
            "eos_token_id": self.vocab_size - 1,
        }


SHAPES = {
    # Few wide layers of 10 million parameters: where matrices outweigh the calls around them.
    "wide": Shape(
        hidden_size=512,
        intermediate_size=1536,
        num_layers=3,
        num_heads=8,
        num_kv_heads=4,
        head_dim=64,
        vocab_size=2048,
    ),
    # Source: config.json of Qwen/Qwen3-0.6B, Qwen3-1.7B and Qwen3-8B on Hugging Face.
    "0_6b": Shape(
        hidden_size=1024, intermediate_size=3072, num_layers=28, num_heads=16, num_kv_heads=8
    ),
    "1_7b": Shape(
        hidden_size=2048, intermediate_size=6144, num_layers=28, num_heads=16, num_kv_heads=8
    ),
    "8b": Shape(
        hidden_size=4096,
        intermediate_size=12_288,
        num_layers=36,
        num_heads=32,
        num_kv_heads=8,
        tied=False,
    ),
}


REFERENCE = "reference"


def model_tokens(name: str) -> SpecialTokens:
    """Markers that the model never says greedily: for the shipped one <bos>, <think> and '#'."""
    if name == REFERENCE:
        return SpecialTokens(eos_ids=frozenset({0}), think_open_id=2, think_close_id=6)
    end = SHAPES[name].vocab_size
    return SpecialTokens(
        eos_ids=frozenset({end - 1}), think_open_id=end - 2, think_close_id=end - 3
    )


class ModelStore:
    """Directories of the models; random ones are written when they are first asked for."""

    def __init__(self, directory: Path, dtype: torch.dtype, device: torch.device) -> None:
        self._directory = directory
        self._dtype = dtype
        self._device = device

    def directory(self, name: str) -> Path:
        """A Hugging Face directory; raises KeyError for a name that is none of SHAPES."""
        if name == REFERENCE:
            return Path(str(importlib.resources.files("workers"))) / "reference"
        path = self._directory / name
        if not path.exists():
            path.mkdir(parents=True)
            write_random_model(path, SHAPES[name], self._dtype, self._device)
        return path

    def vocab_size(self, name: str) -> int:
        """Rows of the embedding."""
        return load_spec(self.directory(name)).vocab_size


def write_random_model(
    directory: Path, shape: Shape, dtype: torch.dtype, device: torch.device
) -> None:
    """A Hugging Face directory of random weights: one shard per layer, and one for the rest."""
    generator = torch.Generator(device).manual_seed(1)
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(_shards(shape)):
        name = f"model-{number:05d}.safetensors"
        filled = {
            tensor: _random(tensor, size, dtype, generator) for tensor, size in tensors.items()
        }
        save_file(filled, directory / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    index: dict[str, object] = {"metadata": {}, "weight_map": weight_map}
    _write_json(directory / "model.safetensors.index.json", index)
    kind = str(dtype).removeprefix("torch.")
    _write_json(directory / "config.json", shape.config() | {"dtype": kind})


def _shards(shape: Shape) -> Iterator[dict[str, tuple[int, ...]]]:
    hidden, inner = shape.hidden_size, shape.intermediate_size
    query, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    rest: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab_size, hidden)}
    if not shape.tied:
        rest["lm_head.weight"] = (shape.vocab_size, hidden)
    yield rest | {"model.norm.weight": (hidden,)}
    for index in range(shape.num_layers):
        prefix = f"model.layers.{index}."
        sizes: dict[str, tuple[int, ...]] = {
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
            "self_attn.q_norm": (shape.head_dim,),
            "self_attn.k_norm": (shape.head_dim,),
            "self_attn.q_proj": (query, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, query),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        yield {f"{prefix}{name}.weight": size for name, size in sizes.items()}


def _random(
    name: str, size: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    if len(size) == 1:
        return torch.ones(size, dtype=dtype)
    values = torch.empty(size, dtype=dtype, device=generator.device)
    values.normal_(0.0, INIT_STD, generator=generator)
    if name in ("model.embed_tokens.weight", "lm_head.weight"):
        values[-MARKER_IDS:] = 0.0
    return values.cpu()


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
