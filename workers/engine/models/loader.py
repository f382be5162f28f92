"""Reads a Hugging Face model directory: config.json and safetensors, single or sharded.

Every tensor that the ModelSpec expects must be there with its shape, and nothing else may be.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from workers.engine.errors import CheckpointError
from workers.engine.models.decoder import DecoderWeights, LayerWeights
from workers.engine.models.spec import ModelSpec

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


def load_spec(model_dir: Path) -> ModelSpec:
    """The description of the checkpoint; raises CheckpointError."""
    if not model_dir.is_dir():
        raise CheckpointError(
            f"{model_dir}: no such directory; give a Hugging Face model directory"
        )
    try:
        return ModelSpec.from_config(_read_json(model_dir / "config.json"))
    except CheckpointError as error:
        message = str(error)
        raise CheckpointError(
            message if message.startswith(str(model_dir)) else f"{model_dir}: {message}"
        ) from None


def load_weights(
    model_dir: Path, spec: ModelSpec, dtype: torch.dtype, device: torch.device
) -> DecoderWeights:
    """All weights on `device` in `dtype`; raises CheckpointError."""
    tensors = _TensorTable(model_dir, dict(_read_tensors(model_dir)), dtype, device)
    weights = _assemble(spec, tensors)
    tensors.check_consumed(tied=spec.tied_embeddings)
    return weights


class _TensorTable:
    """Tensors by name; remembers which were asked for."""

    def __init__(
        self,
        model_dir: Path,
        tensors: dict[str, Tensor],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._model_dir = model_dir
        self._tensors = tensors
        self._dtype = dtype
        self._device = device

    def take(self, name: str, *shape: int) -> Tensor:
        tensor = self._tensors.pop(name, None)
        if tensor is None:
            raise CheckpointError(f"{self._model_dir}: tensor {name} is missing")
        if tuple(tensor.shape) != shape:
            raise CheckpointError(
                f"{self._model_dir}: tensor {name} has shape {tuple(tensor.shape)}, "
                f"config.json implies {shape}"
            )
        return tensor.to(self._device, self._dtype)

    def check_consumed(self, *, tied: bool) -> None:
        """Tied checkpoints may repeat the head; old ones may carry rotary buffers."""
        extra = [
            name
            for name in self._tensors
            if not name.endswith("rotary_emb.inv_freq") and not (tied and name == "lm_head.weight")
        ]
        if extra:
            raise CheckpointError(
                f"{self._model_dir}: {len(extra)} tensors that config.json does not explain, "
                f"first {min(extra)}"
            )


def _assemble(spec: ModelSpec, tensors: _TensorTable) -> DecoderWeights:
    embedding = tensors.take("model.embed_tokens.weight", spec.vocab_size, spec.hidden_size)
    layers = [_assemble_layer(spec, tensors, index) for index in range(spec.num_layers)]
    norm = tensors.take("model.norm.weight", spec.hidden_size)
    if spec.tied_embeddings:
        return DecoderWeights(embedding, layers, norm, embedding)
    head = tensors.take("lm_head.weight", spec.vocab_size, spec.hidden_size)
    return DecoderWeights(embedding, layers, norm, head)


def _assemble_layer(spec: ModelSpec, tensors: _TensorTable, index: int) -> LayerWeights:
    prefix = f"model.layers.{index}."
    attention = prefix + "self_attn."
    hidden, query_size = spec.hidden_size, spec.num_heads * spec.head_dim
    sizes = {"q": query_size} | dict.fromkeys("kv", spec.num_kv_heads * spec.head_dim)
    gate_up = [
        tensors.take(f"{prefix}mlp.{name}_proj.weight", spec.intermediate_size, hidden)
        for name in ("gate", "up")
    ]
    return LayerWeights(
        input_norm=tensors.take(prefix + "input_layernorm.weight", hidden),
        qkv=torch.cat(
            [tensors.take(f"{attention}{n}_proj.weight", size, hidden) for n, size in sizes.items()]
        ),
        qkv_bias=torch.cat(
            [tensors.take(f"{attention}{n}_proj.bias", size) for n, size in sizes.items()]
        )
        if spec.qkv_bias
        else None,
        qk_norm=_take_qk_norm(spec, tensors, attention) if spec.qk_norm else None,
        output=tensors.take(attention + "o_proj.weight", hidden, query_size),
        output_bias=tensors.take(attention + "o_proj.bias", hidden) if spec.output_bias else None,
        mlp_norm=tensors.take(prefix + "post_attention_layernorm.weight", hidden),
        gate_up=torch.cat(gate_up),
        down=tensors.take(prefix + "mlp.down_proj.weight", hidden, spec.intermediate_size),
    )


def _take_qk_norm(spec: ModelSpec, tensors: _TensorTable, attention: str) -> Tensor:
    """The norm weights repeated per head, (heads + kv_heads, head_dim)."""
    query = tensors.take(attention + "q_norm.weight", spec.head_dim)
    key = tensors.take(attention + "k_norm.weight", spec.head_dim)
    return torch.cat((query.expand(spec.num_heads, -1), key.expand(spec.num_kv_heads, -1)))


def _read_tensors(model_dir: Path) -> Iterator[tuple[str, Tensor]]:
    for file_name, names in _weight_files(model_dir).items():
        path = model_dir / file_name
        try:
            with safe_open(path, framework="pt") as file:
                for name in names if names is not None else file.keys():
                    yield name, file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from None


def _weight_files(model_dir: Path) -> dict[str, list[str] | None]:
    """File name to the tensors it should hold; None means all that are in it."""
    if (model_dir / SINGLE_FILE).is_file():
        return {SINGLE_FILE: None}
    if not (model_dir / INDEX_FILE).is_file():
        raise CheckpointError(f"{model_dir}: neither {SINGLE_FILE} nor {INDEX_FILE} is there")
    weight_map = _read_json(model_dir / INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{model_dir / INDEX_FILE}: has no weight_map")
    return {
        file_name: [name for name, holder in weight_map.items() if holder == file_name]
        for file_name in set(weight_map.values())
    }


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object")
    return content
